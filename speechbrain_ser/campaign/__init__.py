"""Any row of any table: which runs, in what order, where."""
