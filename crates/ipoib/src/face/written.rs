//! What [`Faces`](super::Faces) does with frames for a host, without a host: for tests of what comes from strangers.

use ipoib_proto::HostFrame;

use super::frame;

/// Makes of a frame what would have been written.
pub(crate) fn write(frame: &HostFrame) {
    assert!(frame::head(&frame.head, &frame.offload).ends_with(&frame.head));
}
