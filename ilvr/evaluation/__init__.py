"""The paper's evaluation: `python -m ilvr evaluate` (Tables 1, 2 and A, on one machine or many).

plan.py cuts the work into units, work.py turns a unit into its result with the measures of
features.py, folder.py keeps results, cluster.py hands units to Ray, run.py does what is left, and
tables.py and figure.py draw the tables from the results alone; metrics.py says what their numbers
are.
"""
