//! Facts and wishes in, steps out.
