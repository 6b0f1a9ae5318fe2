"""What people and machines see of a run: logs, metrics, progress on the terminal, trackers. Used by all, uses none."""
