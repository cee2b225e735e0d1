//! Two rings in memory that two processes share: records one way, records the other way, and a bell for each side.
//!
//! The two sides need not trust each other. What the far side writes is copied before it is looked at, its numbers are
//! checked against the size of the ring, and the memory cannot be made smaller under our feet. A far side that writes
//! nonsense is [`Broken`], and hurts nobody but itself.
//!
//! A record lies in one piece and begins a cache line; its length stands at the end of the line before. What does not fit
//! at the end of the ring begins anew at its start, and a `HOLE` is left in between.
//!
//! Long records need not be copied: a writer can have them made in their place ([`Writer::reserve`]), a reader can leave
//! them there while they are used ([`Reader::lend`]).
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

mod loan;

pub use self::loan::Loan;
use self::loan::Loans;

/// Smallest ring, in bytes.
pub const MIN_RING: u32 = 1 << 18;
/// Largest.
pub const MAX_RING: u32 = 1 << 26;

/// What stands in front of a record: its length.
const LENGTH: usize = 8;
/// Marks a length: so many bytes follow that are no record.
const HOLE: u64 = 1 << 63;
/// Bytes of a cache line. Long copies have both ends at the same place in a line, if that can be had: some processors take
/// sixteen times as long for one that is to begin some bytes, but not a line, behind its source within a page.
pub const LINE: usize = 64;
/// Room for the numbers of both rings, in front of their bytes, and all of a line but a length.
const HEAD: usize = 4096 + LINE - LENGTH;

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
    /// The writer waits until so many bytes have been read: ring its bell then. 0 if it does not wait.
    writer_waits: Line<AtomicU64>,
}

#[repr(C, align(64))]
struct Line<T>(T);

const _: () = assert!(align_of::<Line<u8>>() == LINE);

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
            writer: Writer {
                at: 0,
                ring: written,
                bell: bell.clone(),
                reserved: None,
                loans: Loans::default(),
            },
            reader: Reader { at: 0, ring: read, bell: bell.clone(), loans: Loans::default() },
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
    /// Longest record that can be made in its place now, which is at `at`.
    reserved: Option<usize>,
    loans: Loans,
}

impl Writer {
    /// Longest record.
    pub const fn longest(&self) -> usize {
        self.ring.size / 2 - LENGTH
    }

    /// Room for the next record, up to `len` bytes: whoever fills it has it written by [`write`](Self::write), with the
    /// last piece where it lies. None if there is no room, or too much is lent.
    ///
    /// Anything else may be written instead, also while the room is still in use.
    pub fn reserve(&mut self, len: usize) -> Result<Option<Loan>, Broken> {
        self.leave_reserved()?;
        if len > self.longest() || !self.has_room(len)? {
            return Ok(None);
        }
        self.go_to_piece(len);
        let loan = self.loans.lend(&self.ring, self.at, self.at + LENGTH as u64, len);
        self.reserved = loan.is_some().then_some(len);
        Ok(loan)
    }

    /// Writes one record that lies in these pieces, and rings if the reader sleeps. False if there is no room, or never
    /// will be.
    pub fn write(&mut self, pieces: &[&[u8]]) -> Result<bool, Broken> {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        let in_place = self.is_in_place(pieces, len);
        if !in_place {
            self.leave_reserved()?;
            if len > self.longest() || !self.has_room(len)? {
                return Ok(false);
            }
            self.go_to_piece(len);
        }
        self.put_length(len as u64);
        let mut to = self.at + LENGTH as u64;
        let copied = if in_place { pieces.len() - 1 } else { pieces.len() };
        for piece in &pieces[..copied] {
            // SAFETY: the record lies in one piece within the ring; the far side may read it at the same time, which
            // is its own affair. Of a record made in its place, nobody has more than the last piece.
            unsafe {
                ptr::copy_nonoverlapping(
                    piece.as_ptr(),
                    self.ring.piece(to, piece.len()).as_ptr(),
                    piece.len(),
                )
            };
            to += piece.len() as u64;
        }
        self.reserved = None;
        self.at += occupied(len) as u64;
        self.publish();
        Ok(true)
    }

    /// False if a record of `len` bytes has room now. If not, our bell rings when the reader has read as much as it needs.
    pub fn waits_for_room(&mut self, len: usize) -> Result<bool, Broken> {
        self.waits_for_free(self.needed(len))
    }

    /// True if so many bytes are free now.
    pub fn has_free(&mut self, bytes: usize) -> Result<bool, Broken> {
        Ok(self.free()? >= bytes as u64)
    }

    /// False if the ring is as good as empty. If not, our bell rings when it is. Who found it full waits until then: the
    /// reader has something to do while the writer wakes, and is not interrupted for every record it reads.
    pub fn waits_until_drained(&mut self) -> Result<bool, Broken> {
        self.waits_for_free(drained(self.ring.size))
    }

    /// False if so many bytes are free now. If not, our bell rings once, when the reader has read enough.
    fn waits_for_free(&mut self, bytes: usize) -> Result<bool, Broken> {
        debug_assert!(bytes <= self.ring.size, "more than will ever be free");
        if self.has_free(bytes)? {
            return Ok(false);
        }
        let then_read = self.at + bytes as u64 - self.ring.size as u64;
        self.ring.numbers().writer_waits.0.store(then_read, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Ok(!self.has_free(bytes)?)
    }

    /// Bytes written since the beginning.
    pub const fn written(&self) -> u64 {
        self.at
    }

    /// Size of the ring, in bytes.
    pub const fn size(&self) -> usize {
        self.ring.size
    }

    /// True if the last piece of a record lies where it is to be in the room that was reserved for it.
    fn is_in_place(&self, pieces: &[&[u8]], len: usize) -> bool {
        let (Some(room), Some(last)) = (self.reserved, pieces.last()) else { return false };
        let before = len - last.len();
        // Room that nobody has any more may be written like any other.
        len <= room
            && last.as_ptr() == self.ring.piece(self.at + (LENGTH + before) as u64, last.len()).as_ptr()
    }

    /// Something else comes first: if the reserved room is still in use, the next record begins behind it.
    fn leave_reserved(&mut self) -> Result<(), Broken> {
        if let Some(room) = self.reserved.take()
            && self.loans.has(self.at)
        {
            self.put_length(HOLE | room as u64);
            self.at += occupied(room) as u64;
        }
        Ok(())
    }

    /// Goes on at the start of the ring if so many bytes do not fit at its end. There is room for both.
    fn go_to_piece(&mut self, len: usize) {
        let to_end = self.ring.to_end(self.at);
        if to_end < occupied(len) {
            self.put_length(HOLE | (to_end - LENGTH) as u64);
            self.at += to_end as u64;
        }
    }

    fn has_room(&mut self, len: usize) -> Result<bool, Broken> {
        self.has_free(self.needed(len))
    }

    /// Bytes that a record takes here, with those at the end of the ring that it does not fit in.
    const fn needed(&self, len: usize) -> usize {
        let to_end = self.ring.to_end(self.at);
        let wasted = if to_end < occupied(len) { to_end } else { 0 };
        wasted + occupied(len)
    }

    fn free(&mut self) -> Result<u64, Broken> {
        let used = self.at.wrapping_sub(self.ring.numbers().read.0.load(Ordering::Acquire));
        if used > self.ring.size as u64 {
            return Err(Broken::Place);
        }
        // What is still in use is not written over, whether it was read or not.
        let used = used.max(self.loans.first().map_or(0, |first| self.at - first));
        Ok(self.ring.size as u64 - used)
    }

    fn publish(&self) {
        let numbers = self.ring.numbers();
        numbers.written.0.store(self.at, Ordering::Release);
        fence(Ordering::SeqCst);
        if numbers.reader_sleeps.0.load(Ordering::Relaxed) != 0 {
            numbers.reader_sleeps.0.store(0, Ordering::Relaxed);
            self.bell.ring();
        }
    }

    fn put_length(&self, length: u64) {
        // SAFETY: lengths are a multiple of a line apart, so there are eight bytes, and they are aligned.
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
    loans: Loans,
}

impl Reader {
    /// Copies the next record into `into`: its length, or none if there is none. One that is longer than `into` is an
    /// error. Rings if the writer waits for room.
    pub fn read(&mut self, into: &mut [u8]) -> Result<Option<usize>, Broken> {
        let Some(len) = self.next(into.len())? else { return Ok(None) };
        let from = self.ring.piece(self.at + LENGTH as u64, len);
        // SAFETY: the record lies in one piece within the ring, `into` is as long. Should the far side change the
        // bytes meanwhile, we get some of both: bytes have no wrong values, and they are looked at only here.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into.as_mut_ptr(), len) };
        self.at += occupied(len) as u64;
        self.let_go();
        Ok(Some(len))
    }

    /// The next record where it lies, if it has at least `least` bytes; one of more than `most` is an error. None if it
    /// is shorter, there is none, or too much is lent: [`read`](Self::read) tells.
    ///
    /// The far side could change the bytes while they are looked at: whoever does not trust it only hands them on.
    pub fn lend(&mut self, least: usize, most: usize) -> Result<Option<Loan>, Broken> {
        let Some(len) = self.next(most)?.filter(|len| *len >= least) else { return Ok(None) };
        self.let_go();
        let loan = self.loans.lend(&self.ring, self.at, self.at + LENGTH as u64, len);
        if loan.is_some() {
            self.at += occupied(len) as u64;
        }
        Ok(loan)
    }

    /// Goes to the next record; its length, or none if there is none.
    fn next(&mut self, most: usize) -> Result<Option<usize>, Broken> {
        let written = self.ring.numbers().written.0.load(Ordering::Acquire);
        loop {
            let there = written.wrapping_sub(self.at);
            if there > self.ring.size as u64 || !there.is_multiple_of(LINE as u64) {
                return Err(Broken::Place);
            }
            if there == 0 {
                return Ok(None);
            }
            // SAFETY: as for `put_length`; the far side may write it at the same time, so it is read but once.
            let length = unsafe { self.ring.piece(self.at, LENGTH).cast::<u64>().as_ptr().read_volatile() };
            let len = usize::try_from(length & !HOLE).map_err(|_| Broken::Length)?;
            if len > self.ring.size
                || occupied(len) > self.ring.to_end(self.at)
                || occupied(len) as u64 > there
            {
                return Err(Broken::Length);
            }
            if length & HOLE != 0 {
                self.at += occupied(len) as u64;
                continue;
            }
            return if len > most { Err(Broken::Length) } else { Ok(Some(len)) };
        }
    }

    /// Bytes that were read since the beginning, and would have been if all that the far side has written by now were.
    pub fn places(&self) -> (u64, u64) {
        let unread = self.ring.numbers().written.0.load(Ordering::Acquire).wrapping_sub(self.at);
        (self.at, self.at + unread.min(self.ring.size as u64))
    }

    /// True if there is nothing to read; then our bell rings when there is.
    pub fn sleeps(&mut self) -> bool {
        self.let_go();
        let numbers = self.ring.numbers();
        numbers.reader_sleeps.0.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if numbers.written.0.load(Ordering::Acquire) == self.at {
            return true;
        }
        numbers.reader_sleeps.0.store(0, Ordering::Relaxed);
        false
    }

    /// What was read, and is not lent any more, makes room.
    pub fn let_go(&mut self) {
        let read = self.loans.first().unwrap_or(self.at);
        let numbers = self.ring.numbers();
        numbers.read.0.store(read, Ordering::Release);
        fence(Ordering::SeqCst);
        let wanted = numbers.writer_waits.0.load(Ordering::Relaxed);
        if wanted != 0 && wanted <= read {
            numbers.writer_waits.0.store(0, Ordering::Relaxed);
            self.bell.ring();
        }
    }
}

/// Bytes that are free in a ring of this size when it is as good as empty.
const fn drained(size: usize) -> usize {
    size / 8 * 7
}

/// Bytes of the ring that a record of `len` takes.
const fn occupied(len: usize) -> usize {
    (LENGTH + len).next_multiple_of(LINE)
}

#[cfg(test)]
mod tests;
