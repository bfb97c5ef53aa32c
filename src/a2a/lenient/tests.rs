//! What peers were seen to write.
