"""What tests share: a tiny model, tasks that it can learn from, and processes to watch."""
