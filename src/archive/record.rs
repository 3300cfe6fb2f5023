//! Little-endian fields of a ZIP record, by the offsets of PKWARE's APPNOTE 6.3.10.

/// A record whose length was checked when it was cut out.
#[derive(Clone, Copy)]
pub(super) struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    /// The `bytes` bytes at `at` where they are there and start with `signature`.
    pub(super) fn at(data: &'a [u8], at: usize, bytes: usize, signature: &[u8]) -> Option<Self> {
        data.get(at..at.checked_add(bytes)?)
            .filter(|record| record.starts_with(signature))
            .map(Self)
    }

    pub(super) fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.fixed(at))
    }

    pub(super) fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.fixed(at))
    }

    pub(super) fn u64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.fixed(at))
    }

    fn fixed<const N: usize>(self, at: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.0[at..at + N]);
        field
    }
}
