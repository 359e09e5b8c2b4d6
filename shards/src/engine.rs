//! The I/O engine: one raw io_uring per shard, owned by one task of the executor.
