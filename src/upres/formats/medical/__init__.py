"""Medical pictures: DICOM and NIfTI. Both need the extra ``medical``, but to be recognised."""
