//! Two rings in memory that two processes share: records one way, records the other way, and a bell for each side.
//!
//! The two sides need not trust each other. What the far side writes is copied before it is looked at, its numbers are
//! checked against the size of the ring, and the memory cannot be made smaller under our feet. A far side that writes
//! nonsense is [`Broken`], and hurts nobody but itself.
//!
//! A record lies in one piece, behind its length; it begins at a multiple of eight. What does not fit at the end of
//! the ring begins anew at its start, and `SKIP` stands in between.
#![expect(unsafe_code, reason = "memory is shared with another process")]

use std::{
    fs, io,
    os::fd::{BorrowedFd, OwnedFd},
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering, fence},
    },
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create},
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use super::bell::Bell;

/// Smallest ring, in bytes.
pub const MIN_RING: u32 = 1 << 18;
/// Largest.
pub const MAX_RING: u32 = 1 << 26;

/// What stands in front of a record: its length.
const LENGTH: usize = 8;
/// "The next record begins at the start."
const SKIP: u64 = u64::MAX;
/// Room for the numbers of both rings, in front of their bytes.
const HEAD: usize = 4096;

/// The far side broke the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It says to have written or read more than there is.
    #[error("its place in the ring makes no sense")]
    Place,
    /// A record is longer than what was written, or than any may be.
    #[error("the length of a record makes no sense")]
    Length,
}

/// The numbers of one ring; each in a cache line of its own.
#[repr(C)]
struct Numbers {
    /// Bytes written since the beginning.
    written: Line<AtomicU64>,
    /// Bytes read.
    read: Line<AtomicU64>,
    /// The reader sleeps: ring its bell when something is written.
    reader_sleeps: Line<AtomicU32>,
    /// The writer waits for room: ring its bell when something is read.
    writer_waits: Line<AtomicU32>,
}

#[repr(C, align(64))]
struct Line<T>(T);

const _: () = assert!(2 * size_of::<Numbers>() <= HEAD);

/// Which side of the memory we are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that made it.
    Maker,
    /// The one that was given it.
    Guest,
}

/// Memory for two rings, mapped.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is shared with another process anyway; all access is by atomics and copies.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody has a pointer into it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// One ring of a mapping.
#[derive(Clone, Debug)]
struct Ring {
    mapping: Arc<Mapping>,
    /// 0 is from guest to maker, 1 from maker to guest.
    which: usize,
    size: usize,
}

impl Ring {
    fn numbers(&self) -> &Numbers {
        // SAFETY: the head of the mapping has room for two of them and is aligned to a page; atomics may be shared.
        unsafe { self.mapping.start.cast::<Numbers>().add(self.which).as_ref() }
    }

    /// Where the `len` bytes from number `at` on lie, which are in one piece.
    fn piece(&self, at: u64, len: usize) -> NonNull<u8> {
        debug_assert!(len <= self.to_end(at), "{len} bytes at {at} lead out of the ring");
        let offset = HEAD + self.which * self.size + self.offset(at);
        // SAFETY: `offset` is within the mapping: two rings of `size` bytes follow its head.
        unsafe { self.mapping.start.add(offset) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than the size")]
    const fn offset(&self, at: u64) -> usize {
        (at % self.size as u64) as usize
    }

    /// Bytes from `at` to the end of the ring.
    const fn to_end(&self, at: u64) -> usize {
        self.size - self.offset(at)
    }
}

/// Memory for two rings of `size` bytes each: a power of two from [`MIN_RING`] to [`MAX_RING`]. Give the descriptor to
/// the guest.
pub fn memory(size: u32) -> io::Result<OwnedFd> {
    let fd = memfd_create("ipoib ring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&fd, (HEAD + 2 * size as usize) as u64)?;
    fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd)
}

/// Both ends of one side.
#[derive(Debug)]
pub struct Rings {
    /// For what we have to say.
    pub writer: Writer,
    /// For what the far side says.
    pub reader: Reader,
}

impl Rings {
    /// Maps memory that this side has not mapped before. `bell` is our end; the far side's rings by it.
    pub fn map(memory: BorrowedFd<'_>, side: Side, bell: &Bell) -> io::Result<Self> {
        let no_ring = || io::Error::new(io::ErrorKind::InvalidData, "not the memory of two rings");
        let sealed = fcntl_get_seals(memory)?.contains(SealFlags::SHRINK);
        let len = fs::File::from(memory.try_clone_to_owned()?).metadata()?.len();
        let len = usize::try_from(len).map_err(|_| no_ring())?;
        let size = len.saturating_sub(HEAD) / 2;
        let sizes = MIN_RING as usize..=MAX_RING as usize;
        if !sealed || !size.is_power_of_two() || !sizes.contains(&size) || len != HEAD + 2 * size {
            return Err(no_ring());
        }
        // SAFETY: a new mapping at a place of the kernel's choice; the seal keeps the file as long as it.
        let start = unsafe {
            mmap(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, memory, 0)
        }?;
        let start = NonNull::new(start.cast()).ok_or_else(no_ring)?;
        let mapping = Arc::new(Mapping { start, len });
        let ring = |which| Ring { mapping: Arc::clone(&mapping), which, size };
        let (to_them, to_us) = match side {
            Side::Maker => (1, 0),
            Side::Guest => (0, 1),
        };
        let (written, read) = (ring(to_them), ring(to_us));
        Ok(Self {
            // Where we are is what we know ourselves: the far side may have written anything there.
            writer: Writer { at: 0, ring: written, bell: bell.clone() },
            reader: Reader { at: 0, ring: read, bell: bell.clone() },
        })
    }
}

/// The end of a ring that is written.
#[derive(Debug)]
pub struct Writer {
    ring: Ring,
    /// Bytes written since the beginning.
    at: u64,
    bell: Bell,
}

impl Writer {
    /// Longest record.
    pub const fn longest(&self) -> usize {
        self.ring.size / 2 - LENGTH
    }

    /// Writes one record that lies in these pieces, and rings if the reader sleeps. False if there is no room, or never
    /// will be.
    pub fn write(&mut self, pieces: &[&[u8]]) -> Result<bool, Broken> {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        if len > self.longest() || !self.has_room(len)? {
            return Ok(false);
        }
        if self.ring.to_end(self.at) < occupied(len) {
            self.put_length(SKIP);
            self.at += self.ring.to_end(self.at) as u64;
        }
        self.put_length(len as u64);
        let mut to = self.at + LENGTH as u64;
        for piece in pieces {
            // SAFETY: the record lies in one piece within the ring; the far side may read it at the same time, which
            // is its own affair.
            unsafe {
                ptr::copy_nonoverlapping(
                    piece.as_ptr(),
                    self.ring.piece(to, piece.len()).as_ptr(),
                    piece.len(),
                )
            };
            to += piece.len() as u64;
        }
        self.at += occupied(len) as u64;
        let numbers = self.ring.numbers();
        numbers.written.0.store(self.at, Ordering::Release);
        fence(Ordering::SeqCst);
        if numbers.reader_sleeps.0.load(Ordering::Relaxed) != 0 {
            numbers.reader_sleeps.0.store(0, Ordering::Relaxed);
            self.bell.ring();
        }
        Ok(true)
    }

    /// True if a record of `len` bytes has room now. If not, our bell rings when the reader has read something.
    pub fn waits_for_room(&mut self, len: usize) -> Result<bool, Broken> {
        if self.has_room(len)? {
            return Ok(false);
        }
        self.ring.numbers().writer_waits.0.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Ok(!self.has_room(len)?)
    }

    fn has_room(&self, len: usize) -> Result<bool, Broken> {
        let used = self.at.wrapping_sub(self.ring.numbers().read.0.load(Ordering::Acquire));
        let free = (self.ring.size as u64).checked_sub(used).ok_or(Broken::Place)?;
        let to_end = self.ring.to_end(self.at);
        let wasted = if to_end < occupied(len) { to_end } else { 0 };
        Ok((wasted + occupied(len)) as u64 <= free)
    }

    fn put_length(&self, length: u64) {
        // SAFETY: records begin at multiples of eight, so there are eight bytes, and they are aligned.
        unsafe { self.ring.piece(self.at, LENGTH).cast::<u64>().as_ptr().write_volatile(length) };
    }
}

/// The end of a ring that is read.
#[derive(Debug)]
pub struct Reader {
    ring: Ring,
    /// Bytes read since the beginning.
    at: u64,
    bell: Bell,
}

impl Reader {
    /// Copies the next record into `into`: its length, or none if there is none. One that is longer than `into` is an
    /// error. Rings if the writer waits for room.
    pub fn read(&mut self, into: &mut [u8]) -> Result<Option<usize>, Broken> {
        let written = self.ring.numbers().written.0.load(Ordering::Acquire);
        loop {
            let there = written.wrapping_sub(self.at);
            if there > self.ring.size as u64 || !there.is_multiple_of(8) {
                return Err(Broken::Place);
            }
            if there == 0 {
                return Ok(None);
            }
            let to_end = self.ring.to_end(self.at);
            // SAFETY: as for `put_length`; the far side may write it at the same time, so it is read but once.
            let length = unsafe { self.ring.piece(self.at, LENGTH).cast::<u64>().as_ptr().read_volatile() };
            if length == SKIP {
                if to_end as u64 > there {
                    return Err(Broken::Length);
                }
                self.at += to_end as u64;
                continue;
            }
            let len = usize::try_from(length).map_err(|_| Broken::Length)?;
            if len > into.len()
                || len > self.ring.size
                || occupied(len) > to_end
                || occupied(len) as u64 > there
            {
                return Err(Broken::Length);
            }
            let from = self.ring.piece(self.at + LENGTH as u64, len);
            // SAFETY: the record lies in one piece within the ring, `into` is as long. Should the far side change the
            // bytes meanwhile, we get some of both: bytes have no wrong values, and they are looked at only here.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into.as_mut_ptr(), len) };
            self.at += occupied(len) as u64;
            self.let_go();
            return Ok(Some(len));
        }
    }

    /// Bytes that were read since the beginning, and would have been if all that the far side has written by now were.
    pub fn places(&self) -> (u64, u64) {
        let unread = self.ring.numbers().written.0.load(Ordering::Acquire).wrapping_sub(self.at);
        (self.at, self.at + unread.min(self.ring.size as u64))
    }

    /// True if there is nothing to read; then our bell rings when there is.
    pub fn sleeps(&self) -> bool {
        let numbers = self.ring.numbers();
        numbers.reader_sleeps.0.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if numbers.written.0.load(Ordering::Acquire) == self.at {
            return true;
        }
        numbers.reader_sleeps.0.store(0, Ordering::Relaxed);
        false
    }

    /// What was read makes room.
    fn let_go(&self) {
        let numbers = self.ring.numbers();
        numbers.read.0.store(self.at, Ordering::Release);
        fence(Ordering::SeqCst);
        if numbers.writer_waits.0.load(Ordering::Relaxed) != 0 {
            numbers.writer_waits.0.store(0, Ordering::Relaxed);
            self.bell.ring();
        }
    }
}

/// Bytes of the ring that a record of `len` takes.
const fn occupied(len: usize) -> usize {
    LENGTH + len.next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use proptest::prelude::*;

    use super::*;

    struct Pair {
        maker: Rings,
        guest: Rings,
        memory: OwnedFd,
        bells: [Bell; 2],
    }

    fn pair() -> Pair {
        let memory = memory(MIN_RING).unwrap();
        let (a, b) = Bell::pair().unwrap();
        let bells = [a, b];
        let maker = Rings::map(memory.as_fd(), Side::Maker, &bells[0]).unwrap();
        let guest = Rings::map(memory.as_fd(), Side::Guest, &bells[1]).unwrap();
        Pair { maker, guest, memory, bells }
    }

    fn rang(bell: &Bell) -> bool {
        rustix::net::recv(bell, &mut [0u8; 64][..], rustix::net::RecvFlags::DONTWAIT).is_ok()
    }

    #[test]
    fn records_come_out_as_they_went_in_over_many_rounds() {
        let Pair { mut maker, mut guest, .. } = pair();
        let mut space = vec![0; 1 << 17];
        let mut round = 0u32;
        while round < 2000 {
            let len = (round as usize * 7919) % 100_000;
            let fill = round.to_le_bytes()[0];
            let body = vec![fill; len];
            assert!(guest.writer.write(&[&round.to_ne_bytes(), &body]).unwrap());
            assert_eq!(maker.reader.read(&mut space).unwrap(), Some(len + 4));
            assert_eq!(space[..4], round.to_ne_bytes());
            assert!(space[4..len + 4].iter().all(|byte| *byte == fill));
            round += 1;
        }
        assert_eq!(maker.reader.read(&mut space).unwrap(), None);
    }

    #[test]
    fn a_full_ring_takes_nothing_and_rings_when_there_is_room() {
        let Pair { mut maker, mut guest, bells, .. } = pair();
        let record = vec![1; 60_000];
        let mut written = 0;
        while maker.writer.write(&[&record]).unwrap() {
            written += 1;
        }
        assert_eq!(written, 4);
        assert!(maker.writer.waits_for_room(60_000).unwrap());
        assert!(!rang(&bells[0]));
        let mut space = vec![0; 1 << 16];
        assert_eq!(guest.reader.read(&mut space).unwrap(), Some(60_000));
        assert!(rang(&bells[0]), "the writer's bell");
        assert!(!maker.writer.waits_for_room(60_000).unwrap());
        assert!(maker.writer.write(&[&record]).unwrap());
    }

    #[test]
    fn a_sleeping_reader_is_woken_once() {
        let Pair { mut maker, mut guest, bells, .. } = pair();
        assert!(guest.reader.sleeps());
        maker.writer.write(&[b"a"]).unwrap();
        assert!(rang(&bells[1]));
        maker.writer.write(&[b"b"]).unwrap();
        assert!(!rang(&bells[1]), "it is awake");
        assert!(!guest.reader.sleeps(), "there is something to read");
        let mut space = [0; 8];
        assert_eq!(guest.reader.read(&mut space).unwrap(), Some(1));
        assert_eq!(guest.reader.read(&mut space).unwrap(), Some(1));
        assert!(guest.reader.sleeps());
    }

    #[test]
    fn a_reader_knows_where_the_end_is_whatever_it_is_told() {
        let Pair { mut maker, mut guest, memory, .. } = pair();
        guest.writer.write(&[b"a"]).unwrap();
        assert_eq!(maker.reader.places(), (0, 16));
        maker.reader.read(&mut [0; 8]).unwrap();
        assert_eq!(maker.reader.places(), (16, 16));
        scribble(&memory, 0, &u64::MAX.to_ne_bytes());
        assert_eq!(maker.reader.places(), (16, 16 + u64::from(MIN_RING)));
    }

    #[test]
    fn numbers_that_were_there_before_us_lead_nowhere() {
        let memory = memory(MIN_RING).unwrap();
        (0..64).for_each(|place| scribble(&memory, place * 8, &[0xfb; 8]));
        let (bell, _other) = Bell::pair().unwrap();
        let mut rings = Rings::map(memory.as_fd(), Side::Guest, &bell).unwrap();
        assert_eq!(rings.writer.write(&[b"a"]), Err(Broken::Place));
        assert_eq!(rings.reader.read(&mut [0; 8]), Err(Broken::Place));
    }

    #[test]
    fn memory_that_is_no_pair_of_rings_is_refused() {
        let (bell, _) = Bell::pair().unwrap();
        let odd = memory(MIN_RING + 8).unwrap();
        assert!(Rings::map(odd.as_fd(), Side::Guest, &bell).is_err());
        let unsealed = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&unsealed, (HEAD + 2 * MIN_RING as usize) as u64).unwrap();
        assert!(Rings::map(unsealed.as_fd(), Side::Guest, &bell).is_err());
        let Pair { memory, .. } = pair();
        assert!(ftruncate(&memory, 0).is_err(), "it cannot be taken from under the other side");
    }

    /// Lets the guest write whatever it likes.
    fn scribble(memory: &OwnedFd, offset: u64, bytes: &[u8]) {
        rustix::io::pwrite(memory, bytes, offset).unwrap();
    }

    proptest! {
        #[test]
        fn no_scribbling_leads_outside_or_never_ends(
            scribbles in prop::collection::vec((0u64..(HEAD as u64 + (1 << 12)), prop::collection::vec(any::<u8>(), 1..24)), 1..40),
            lengths in prop::collection::vec(0usize..70_000, 1..8),
        ) {
            let Pair { mut maker, mut guest, memory, .. } = pair();
            for len in lengths {
                let _ = guest.writer.write(&[&vec![7; len]]);
            }
            let mut space = vec![0; 1 << 16];
            for (offset, bytes) in scribbles {
                scribble(&memory, offset, &bytes);
                let _ = maker.writer.write(&[&bytes]);
                let _ = maker.writer.waits_for_room(1000);
                for _ in 0..100 {
                    match maker.reader.read(&mut space) {
                        Ok(Some(len)) => prop_assert!(len <= space.len()),
                        Ok(None) | Err(_) => break,
                    }
                }
                maker.reader.sleeps();
            }
        }
    }
}
