"""The one dataset layer: from the LIDC-IDRI readings to a cohort of nodules, its labels and its folds."""
