#!/bin/bash
# A sweep as one Slurm job: a Ray cluster on the job's nodes, which ends with the sweep.
#
#   sbatch clusters/slurm.sh run images_cnn --data /shared/images --out /shared/sweeps
#   sbatch clusters/slurm.sh resume /shared/sweeps/NAME
#
# Change the lines below that begin with #SBATCH. Toprung must be installed at the same path on every
# node (an environment on the shared file system will do) and be on the PATH when you call sbatch.
#SBATCH --job-name=toprung
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
##SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
# (The last: two minutes before the time is up the sweep is ended in order, and can be resumed.)

set -euo pipefail

# The token is for this job alone. The folder must be one that all nodes see; nobody else can.
private=$SLURM_SUBMIT_DIR/.toprung-$SLURM_JOB_ID
mkdir --mode=700 "$private"
(umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$private/token")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$private/token RAY_USAGE_STATS_ENABLED=0

# The data store and the prefix cache belong on a node's own disk.
export TOPRUNG_CACHE_DIR=${TOPRUNG_CACHE_DIR:-/tmp/toprung-$USER}

# Other ports for each job: two of them may share a node. They stay below the ports that Linux
# gives to outgoing connections.
port=$((10000 + SLURM_JOB_ID % 90 * 250))
export AUTOSCALER_METRIC_PORT=$((port + 9)) DASHBOARD_METRIC_PORT=$((port + 10))
options=(
  --block --disable-usage-stats
  --temp-dir "/tmp/ray-$SLURM_JOB_ID"
  --num-cpus "$SLURM_CPUS_PER_TASK"
  --num-gpus "${SLURM_GPUS_ON_NODE:-0}"
  --node-manager-port $((port + 1)) --object-manager-port $((port + 2))
  --runtime-env-agent-port $((port + 3))
  --dashboard-agent-listen-port $((port + 4)) --dashboard-agent-grpc-port $((port + 5))
  --metrics-export-port $((port + 6))
  --min-worker-port $((port + 20)) --max-worker-port $((port + 249))
)

logs=$SLURM_SUBMIT_DIR/slurm-$SLURM_JOB_ID-ray # what Ray's start says on each node
steps=()
step() { # NODES SRUN-OPTION COMMAND...
  srun --nodes="$1" --ntasks="$1" --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    --output="$logs-%N.log" "${@:2}" &
  steps+=($!)
}

clean_up() {
  kill "${steps[@]}" 2> /dev/null || true
  wait || true
  rm -rf "$private" "/tmp/ray-$SLURM_JOB_ID"
}
trap clean_up EXIT

read -r head < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address=$(getent ahostsv4 "$head" | awk 'NR == 1 {print $1}')
step 1 --nodelist="$head" ray start --head --node-ip-address "$address" --port "$port" \
  --dashboard-port $((port + 7)) --ray-client-server-port $((port + 8)) "${options[@]}"
until grep -qs "Ray runtime started" "$logs-$head.log"; do
  kill -0 "${steps[0]}" 2> /dev/null || { cat "$logs-$head.log"; exit 1; }
  sleep 1
done
# Whichever nodes come later are used as they come.
if ((SLURM_NNODES > 1)); then
  step $((SLURM_NNODES - 1)) --exclude="$head" ray start --address "$address:$port" "${options[@]}"
fi

# In the background, because bash answers no signal while it waits for a command.
toprung "$@" --address "$address:$port" &
sweep=$!
trap 'kill -TERM $sweep' TERM
wait $sweep || true # interrupted by the signal
wait $sweep
