//! Two months of small dumps.
