"""A room for the Imaging Data Commons' public bucket: what lies where, and how slices are fetched from it."""
