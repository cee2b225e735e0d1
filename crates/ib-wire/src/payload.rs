//! Packet bytes that are handed on, not copied.
//!
//! A `Payload` is a window on a shared buffer. Receivers of a multicast share one buffer; a unicast
//! packet owns its own and may write in front of its first byte. `Pool` takes buffers back when their last
//! holder is done, so that a packet in flight costs no allocation. Bytes may also lie in memory that somebody
//! lends (`Lent`): those of a ring, say, that go from there to where they are wanted.

use alloc::{sync::Arc, vec::Vec};
use core::{fmt, ops::Deref, ptr};

/// A window on a shared buffer.
#[derive(Clone)]
pub struct Payload {
    buffer: Buffer,
    start: u32,
    end: u32,
}

#[derive(Clone)]
enum Buffer {
    Own(Arc<[u8]>),
    Lent(Arc<dyn Lent>),
}

/// Memory that is lent to payloads, and goes back when this value goes.
///
/// If it is shared with a stranger, who may change it at any time, nobody looks at the bytes of such a payload before
/// [`Payload::make_own`]; they are only handed on.
pub trait Lent: Send + Sync {
    /// All of it.
    fn bytes(&self) -> &[u8];

    /// All of it, for writing.
    fn bytes_mut(&mut self) -> &mut [u8];
}

impl Buffer {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(buffer) => buffer,
            Self::Lent(lent) => lent.bytes(),
        }
    }

    /// The bytes, unless somebody else has them too.
    #[inline]
    fn get_mut(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Own(buffer) => Arc::get_mut(buffer),
            Self::Lent(lent) => Arc::get_mut(lent).map(Lent::bytes_mut),
        }
    }
}

impl Payload {
    /// A copy of `bytes` with `headroom` bytes free in front.
    pub fn with_headroom(headroom: usize, bytes: &[u8]) -> Self {
        let end = headroom + bytes.len();
        if headroom == 0 {
            return Self::from_buffer(bytes.into(), 0, end);
        }
        let mut buffer: Arc<[u8]> = core::iter::repeat_n(0, end).collect();
        Arc::get_mut(&mut buffer).expect("nobody else has it")[headroom..].copy_from_slice(bytes);
        Self::from_buffer(buffer, headroom, end)
    }

    /// The bytes `start..end` of `buffer`.
    ///
    /// # Panics
    /// If the window does not lie within the buffer, or the buffer is 4 GiB or more.
    #[inline]
    pub fn from_buffer(buffer: Arc<[u8]>, start: usize, end: usize) -> Self {
        Self::window(Buffer::Own(buffer), start, end)
    }

    /// All of what is lent.
    ///
    /// # Panics
    /// If it is 4 GiB or more.
    #[inline]
    pub fn from_lent(lent: Arc<dyn Lent>) -> Self {
        let end = lent.bytes().len();
        Self::window(Buffer::Lent(lent), 0, end)
    }

    #[inline]
    fn window(buffer: Buffer, start: usize, end: usize) -> Self {
        assert!(start <= end && end <= buffer.bytes().len(), "a window lies within its buffer");
        let limit = |v: usize| u32::try_from(v).expect("buffers are below 4 GiB");
        Self { start: limit(start), end: limit(end), buffer }
    }

    /// Bytes in the window.
    #[inline]
    pub const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// True if the window has no bytes.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops the first `n` bytes from the window; they become headroom. Takes all if there are fewer.
    #[inline]
    pub fn trim_front(&mut self, n: usize) {
        self.start = self.end.min(self.start.saturating_add(u32::try_from(n).unwrap_or(u32::MAX)));
    }

    /// Keeps only the first `n` bytes of the window.
    #[inline]
    pub fn truncate(&mut self, n: usize) {
        self.end = self.end.min(self.start.saturating_add(u32::try_from(n).unwrap_or(u32::MAX)));
    }

    /// Takes `n` more bytes behind the window into it, whatever they are. False, and nothing happens, if the buffer ends
    /// before.
    #[inline]
    pub fn extend(&mut self, n: usize) -> bool {
        let end = (self.end as usize).saturating_add(n);
        let fits = end <= self.buffer.bytes().len();
        if fits {
            self.end = u32::try_from(end).expect("buffers are below 4 GiB");
        }
        fits
    }

    /// Puts `head` in front of the window: in place if nobody shares the buffer and there is room, else
    /// into a new buffer.
    #[inline]
    pub fn prepend(&mut self, head: &[u8]) {
        let (start, n) = (self.start as usize, head.len());
        if n <= start
            && let Some(buffer) = self.buffer.get_mut()
        {
            buffer[start - n..start].copy_from_slice(head);
            self.start = u32::try_from(start - n).expect("smaller than a u32");
            return;
        }
        let mut bytes = Vec::with_capacity(HEADROOM + n + self.len());
        bytes.resize(HEADROOM, 0);
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(self);
        let end = bytes.len();
        *self = Self::from_buffer(bytes.into(), HEADROOM, end);
    }

    /// The bytes for writing; copies them first if the buffer is shared.
    pub fn make_mut(&mut self) -> &mut [u8] {
        if self.buffer.get_mut().is_none() {
            *self = Self::with_headroom(HEADROOM, self);
        }
        let (start, end) = (self.start as usize, self.end as usize);
        &mut self.buffer.get_mut().expect("a fresh copy is not shared")[start..end]
    }

    /// The same bytes in a buffer of their own size, if they wait in one much larger or in what is lent: what queues
    /// keep.
    #[must_use]
    pub fn compact(mut self) -> Self {
        if self.buffer.bytes().len() > 2 * (self.len() + HEADROOM) {
            return Self::with_headroom(HEADROOM, &self);
        }
        self.make_own();
        self
    }

    /// True if both are the same bytes of the same buffer.
    pub fn is_same(&self, other: &Self) -> bool {
        ptr::eq::<[u8]>(&**self, &**other)
    }

    /// Copies the bytes if they lie in what is lent: whoever lends them might change them while somebody looks.
    #[inline]
    pub fn make_own(&mut self) {
        if matches!(self.buffer, Buffer::Lent(_)) {
            *self = Self::with_headroom(HEADROOM, self);
        }
    }
}

/// Room that fresh copies leave for headers in front.
pub const HEADROOM: usize = 64;

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self::with_headroom(HEADROOM, bytes)
    }
}

impl Default for Payload {
    /// No bytes.
    fn default() -> Self {
        Self { buffer: Buffer::Own(Arc::default()), start: 0, end: 0 }
    }
}

impl Deref for Payload {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.buffer.bytes()[self.start as usize..self.end as usize]
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

/// Buffers of one size, lent out and taken back.
#[derive(Debug)]
pub struct Pool {
    free: Vec<Arc<[u8]>>,
    size: usize,
    limit: usize,
}

impl Pool {
    /// A pool of buffers of `size` bytes that keeps at most `limit` of them while they are not in use.
    pub const fn new(size: usize, limit: usize) -> Self {
        Self { free: Vec::new(), size, limit }
    }

    /// A buffer that nobody else holds; allocates only when none is free.
    pub fn take(&mut self) -> Arc<[u8]> {
        self.free.pop().unwrap_or_else(|| alloc::vec![0; self.size].into())
    }

    /// Takes a buffer back, unless somebody still holds it or it is not one of this pool's size.
    pub fn give(&mut self, mut buffer: Arc<[u8]>) {
        if self.free.len() < self.limit && buffer.len() == self.size && Arc::get_mut(&mut buffer).is_some() {
            self.free.push(buffer);
        }
    }

    /// Takes back the buffer that a payload lies in.
    pub fn recycle(&mut self, payload: Payload) {
        if let Buffer::Own(buffer) = payload.buffer {
            self.give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_holder_writes_in_front_without_copying() {
        let mut payload = Payload::with_headroom(8, b"data");
        let before = payload.as_ptr();
        payload.prepend(b"head");
        assert_eq!(&*payload, b"headdata");
        assert_eq!(payload.as_ptr(), before.wrapping_sub(4));
        payload.trim_front(4);
        assert_eq!(payload.as_ptr(), before);
    }

    #[test]
    fn sharers_do_not_see_each_others_writes() {
        let mut a = Payload::from(&b"abcd"[..]);
        let b = a.clone();
        a.make_mut()[0] = b'x';
        a.prepend(b"__");
        assert_eq!(&*a, b"__xbcd");
        assert_eq!(&*b, b"abcd");
    }

    #[test]
    fn a_pool_takes_back_only_what_nobody_holds() {
        let mut pool = Pool::new(128, 4);
        let buffer = pool.take();
        let address = buffer.as_ptr();
        let held = Payload::from_buffer(buffer.clone(), 0, 10);
        pool.give(buffer);
        assert_ne!(pool.take().as_ptr(), address);
        pool.recycle(held);
        assert_eq!(pool.take().as_ptr(), address);
    }

    /// Memory that says when it has come back.
    struct Borrowed([u8; 8], Arc<core::sync::atomic::AtomicBool>);

    impl Lent for Borrowed {
        fn bytes(&self) -> &[u8] {
            &self.0
        }

        fn bytes_mut(&mut self) -> &mut [u8] {
            &mut self.0
        }
    }

    impl Drop for Borrowed {
        fn drop(&mut self) {
            self.1.store(true, core::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_lent_is_written_where_it_lies_and_comes_back() {
        let is_back = Arc::default();
        let mut lent = Payload::from_lent(Arc::new(Borrowed(*b"12345678", Arc::clone(&is_back))));
        let place = lent.as_ptr();
        lent.trim_front(4);
        lent.prepend(b"ab");
        assert_eq!((&*lent, lent.as_ptr()), (&b"ab5678"[..], place.wrapping_add(2)));
        let mut own = lent.clone();
        own.make_own();
        let place = own.as_ptr();
        own.make_own();
        assert!(own == lent && own.as_ptr() != lent.as_ptr());
        assert_eq!(own.as_ptr(), place, "it is copied once");
        assert_ne!(lent.clone().compact().as_ptr(), lent.as_ptr());
        assert!(!is_back.load(core::sync::atomic::Ordering::Relaxed));
        Pool::new(8, 1).recycle(lent);
        assert!(is_back.load(core::sync::atomic::Ordering::Relaxed));
    }

    #[test]
    fn a_window_grows_as_far_as_its_buffer_reaches() {
        let mut payload = Payload::with_headroom(0, b"data and more");
        payload.truncate(4);
        assert!(payload.extend(9) && !payload.extend(1) && !payload.extend(usize::MAX));
        assert_eq!(&*payload, b"data and more");
    }

    #[test]
    fn trimming_more_than_there_is_leaves_nothing() {
        let mut p = Payload::from(&b"abc"[..]);
        p.trim_front(usize::MAX);
        assert!(p.is_empty());
    }
}
