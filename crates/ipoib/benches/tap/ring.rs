//! The reference for drivers as processes: TAP, ring in shared memory, a process between, ring, TAP.
//!
//! Each ring has one writer and one reader; whoever finds it full or empty sleeps on a futex until told.
#![expect(unsafe_code, reason = "slots of a ring in shared memory")]

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    slice,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};

use rustix::thread::futex;

use super::sys;

const SLOTS: u32 = 64;
const SLOT: usize = 68 * 1024;
/// From each host to the fabric, then from the fabric to each.
pub(crate) const RINGS: usize = 4;
const RING: usize = size_of::<Index>() + SLOTS as usize * SLOT;
/// Octets that all of them need.
pub(crate) const MEMORY: usize = RINGS * RING;

#[repr(C, align(128))]
struct Word(AtomicU32);

#[repr(C)]
struct Index {
    written: Word,
    read: Word,
    writer_sleeps: Word,
    reader_sleeps: Word,
    lengths: [AtomicU32; SLOTS as usize],
}

/// One ring, at one of its ends.
#[derive(Clone, Copy)]
pub(crate) struct Ring {
    index: &'static Index,
    slots: *mut u8,
}

// SAFETY: the index is atomic; a slot belongs to the writer or to the reader, never to both, by what it says.
unsafe impl Send for Ring {}

/// The rings in `file`, which is [`MEMORY`] long and was all zeros when the first process came.
pub(crate) fn rings(file: &File) -> io::Result<[Ring; RINGS]> {
    let memory = sys::map(file, MEMORY)?;
    Ok(std::array::from_fn(|i| {
        // SAFETY: the mapping is MEMORY long and never unmapped; RING is a multiple of the index's alignment, and
        // zeros are an empty index.
        let (index, slots) = unsafe {
            let start = memory.add(i * RING);
            (&*start.cast::<Index>(), start.add(size_of::<Index>()))
        };
        Ring { index, slots }
    }))
}

const _: () = assert!(RING.is_multiple_of(align_of::<Index>()));

impl Ring {
    /// Lets `fill` fill a free slot; it says how much there is.
    pub(crate) fn write(&self, fill: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        let at = self.index.written.0.load(SeqCst);
        let full = |read: u32| at.wrapping_sub(read) >= SLOTS;
        wait(&self.index.writer_sleeps, &self.index.read, full);
        let len = fill(self.slot(at))?;
        self.index.lengths[(at % SLOTS) as usize].store(u32::try_from(len).unwrap_or(0), SeqCst);
        self.index.written.0.store(at.wrapping_add(1), SeqCst);
        tell(&self.index.reader_sleeps);
        Ok(())
    }

    /// Gives the next frame to `take`.
    pub(crate) fn read(&self, take: impl FnOnce(&[u8])) {
        let at = self.index.read.0.load(SeqCst);
        wait(&self.index.reader_sleeps, &self.index.written, |written| written == at);
        let len = self.index.lengths[(at % SLOTS) as usize].load(SeqCst) as usize;
        take(&self.slot(at)[..len.min(SLOT)]);
        self.index.read.0.store(at.wrapping_add(1), SeqCst);
        tell(&self.index.writer_sleeps);
    }

    #[expect(clippy::mut_from_ref, reason = "a slot has one owner at a time")]
    fn slot(&self, at: u32) -> &mut [u8] {
        // SAFETY: there are SLOTS of them behind the index; the caller has waited until this one is its own.
        unsafe { slice::from_raw_parts_mut(self.slots.add((at % SLOTS) as usize * SLOT), SLOT) }
    }
}

fn wait(flag: &Word, other: &Word, blocked: impl Fn(u32) -> bool) {
    while blocked(other.0.load(SeqCst)) {
        flag.0.store(1, SeqCst);
        if blocked(other.0.load(SeqCst)) {
            let _ = futex::wait(&flag.0, futex::Flags::empty(), 1, None);
        }
        flag.0.store(0, SeqCst);
    }
}

fn tell(flag: &Word) {
    if flag.0.load(SeqCst) != 0 && flag.0.swap(0, SeqCst) != 0 {
        let _ = futex::wake(&flag.0, futex::Flags::empty(), 1);
    }
}

/// A driver: everything from the TAP into one ring, everything from the other into the TAP.
pub(crate) fn driver(tap: impl AsFd + Sync, to: Ring, from: Ring) {
    std::thread::scope(|scope| {
        let tap = &tap;
        scope.spawn(move || while to.write(|slot| Ok(rustix::io::read(tap, slot)?)).is_ok() {});
        scope.spawn(move || {
            loop {
                from.read(|frame| {
                    let _ = rustix::io::write(tap, frame);
                });
            }
        });
    });
}

/// The process between: from one ring to the other, both ways.
pub(crate) fn fabric(from: [Ring; 2], to: [Ring; 2]) {
    std::thread::scope(|scope| {
        for (from, to) in [(from[0], to[1]), (from[1], to[0])] {
            scope.spawn(move || {
                loop {
                    from.read(|frame| {
                        let _ = to.write(|mut slot| slot.write_all(frame).map(|()| frame.len()));
                    });
                }
            });
        }
    });
}
