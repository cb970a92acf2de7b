"""Every figure of a report, computed a second time: by other code, from a sweep's raw files.

Nothing of `analysis`, Optuna, scikit-learn or SciPy is used here, so that an error there cannot
hide itself: SQLite is read with `sqlite3`, and the formulas are written out in NumPy.
"""
