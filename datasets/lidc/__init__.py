"""LIDC-IDRI: the radiologists' readings, the nodules they make, and their voxels, rendered or from the real CT."""
