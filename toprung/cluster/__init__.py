"""On a Ray cluster: joining it, looking at its nodes, handing sweeps to it as jobs."""
