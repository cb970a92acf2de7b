"""What a machine or cluster has, and what one trial takes of it."""
