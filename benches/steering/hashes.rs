//! How Linux and network cards turn the addresses of a connection into a number.

/// The addresses of a connection over IPv4, as its first packet names them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FourTuple {
    pub(crate) source: u32,
    pub(crate) source_port: u16,
    pub(crate) destination: u32,
    pub(crate) destination_port: u16,
}

/// What the kernel adds to a hash so that nobody can aim at one socket; drawn once a boot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelSecret(pub(crate) u32);

impl KernelSecret {
    /// The hash by which `SO_REUSEPORT` picks a listening socket: Bob Jenkins' `lookup3` over three words,
    /// with the destination port added afterwards, as Linux has done it since 6.15.
    pub(crate) fn hash(self, tuple: &FourTuple) -> u32 {
        // The kernel hashes addresses and the foreign port in network byte order.
        let port = u32::from(tuple.source_port.swap_bytes());
        let words = [tuple.destination.swap_bytes(), tuple.source.swap_bytes(), port];
        u32::from(tuple.destination_port).wrapping_add(lookup3(words, self.0))
    }
}

/// `lookup3` for exactly three words.
fn lookup3([a, b, c]: [u32; 3], seed: u32) -> u32 {
    const BEGIN: u32 = 0xdead_beef;
    const BYTES: u32 = 12;
    let begin = BEGIN.wrapping_add(BYTES).wrapping_add(seed);
    let mut state = [a, b, c].map(|word| word.wrapping_add(begin));
    // Which word is mixed with which, and rotated how far.
    for (into, from, rotation) in [
        (2, 1, 14),
        (0, 2, 11),
        (1, 0, 25),
        (2, 1, 16),
        (0, 2, 4),
        (1, 0, 14),
        (2, 1, 24),
    ] {
        state[into] = (state[into] ^ state[from]).wrapping_sub(state[from].rotate_left(rotation));
    }
    state[2]
}

/// The kernel's way to scale a hash to `0..count`: the high bits of a product.
pub(crate) fn scale(hash: u32, count: usize) -> usize {
    ((u64::from(hash) * count as u64) >> 32) as usize
}

/// Receive-side scaling: how a network card picks the queue, and so the CPU, that gets a packet.
pub(crate) struct ReceiveSideScaling {
    pub(crate) key: [u8; 40],
}

/// Entries of the table that leads from a hash to a queue, in most cards and drivers.
const INDIRECTION: u32 = 128;

impl ReceiveSideScaling {
    /// The queue for a packet, out of `queues`: the driver fills the table with them in turn.
    pub(crate) fn queue(&self, tuple: &FourTuple, queues: usize) -> usize {
        (self.toeplitz(tuple) % INDIRECTION) as usize % queues
    }

    /// The Toeplitz hash: for every bit of the input that is set, 32 bits of the key from there on.
    pub(crate) fn toeplitz(&self, tuple: &FourTuple) -> u32 {
        let mut input = [0; 12];
        input[..4].copy_from_slice(&tuple.source.to_be_bytes());
        input[4..8].copy_from_slice(&tuple.destination.to_be_bytes());
        input[8..10].copy_from_slice(&tuple.source_port.to_be_bytes());
        input[10..].copy_from_slice(&tuple.destination_port.to_be_bytes());
        let mut window = u64::from_be_bytes(self.key[..8].try_into().unwrap_or_default());
        let mut hash = 0;
        for (byte, next) in input.iter().zip(&self.key[8..]) {
            for bit in (0..8).rev() {
                if byte >> bit & 1 == 1 {
                    hash ^= (window >> 32) as u32;
                }
                window = window << 1 | u64::from(next >> bit & 1);
            }
        }
        hash
    }
}

/// Compares the hashes with values that others published.
pub(crate) fn check() {
    // The verification suite of the Toeplitz hash with its well-known key.
    let key = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];
    let tuple = FourTuple {
        source: u32::from_be_bytes([66, 9, 149, 187]),
        source_port: 2794,
        destination: u32::from_be_bytes([161, 142, 100, 80]),
        destination_port: 1766,
    };
    let toeplitz = ReceiveSideScaling { key }.toeplitz(&tuple);
    assert_eq!(
        toeplitz, 0x51cc_c178,
        "the Toeplitz hash differs from its verification suite"
    );
    // As the C code of `lookup3` computes it.
    assert_eq!(
        lookup3([1, 2, 3], 4),
        0x8103_143f,
        "the hash differs from lookup3"
    );
}
