//! One interface in virtual time, against a subnet administration of a hundred lines.

mod bring_up;
mod events;
mod groups;
mod host_face;
mod hostile;
mod paths;
mod rig;
mod sa;
