"""Generic DICOM reading: whatever files a folder holds, CT headers and images. It knows nothing of LIDC-IDRI."""
