def checks(fixed, binary): return []
