"""The board: tasks, their states, and who works on them."""
