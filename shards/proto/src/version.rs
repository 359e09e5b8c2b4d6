//! Written by its owner in a moment.
