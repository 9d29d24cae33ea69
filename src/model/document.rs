//! Canonical documents.
