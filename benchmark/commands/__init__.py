"""What `python -m benchmark COMMAND` does: roots like run_all.py, which may import all and which nothing imports."""
