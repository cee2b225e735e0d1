//! What [`Faces`](super::Faces) does with frames for a host, without a host: for tests of what comes from strangers.

use ipoib_proto::HostFrame;

use super::{
    frame,
    merge::{Fate, Merger},
};

/// Frames that wait, and those that would have been written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    merger: Merger,
    frames: u64,
}

impl Written {
    /// Writes a frame, or keeps it for the next. Eight make a burst.
    pub(crate) fn write(&mut self, frame: HostFrame) {
        let fate = self.merger.judge(&frame);
        if fate != Fate::Wait {
            self.flush();
        }
        match fate {
            Fate::Write => assert!(frame::head(&frame.head, &frame.offload).ends_with(&frame.head)),
            Fate::Wait | Fate::WaitAnew => self.merger.keep(frame),
        }
        self.frames += 1;
        if self.frames.is_multiple_of(8) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let _ = self.merger.write(|pieces| assert!(!pieces.is_empty()));
        self.merger.drain().for_each(drop);
    }
}
