//! The operating system: descriptors, namespaces, netlink, time. All unsafe code of the program is in here.
//!
//! - [`userns`], [`limits`], [`signals`]: what `main` does first, before any thread exists.
//! - [`rundir`]: a lab's directory and name.
//! - [`space`]: a lab host. [`tap`] and [`vnet`]: its interface as the driver sees it. [`link`]: as the host sees
//!   it. [`monitor`]: what the host does with it.
//! - [`local`], [`held`]: how programs that speak MADs reach the lab. [`ring`], [`bell`]: how drivers do that are
//!   processes of their own. [`udp`]: how other fabrics do.
//! - [`program`]: where what runs in hosts comes from.
//! - [`poller`], [`wake`], [`clock`]: the data loop.

pub mod bell;
pub mod clock;
mod event;
pub mod held;
pub mod icmp;
pub mod limits;
pub mod link;
pub mod local;
pub mod monitor;
pub mod netns;
pub mod notify;
pub mod poller;
pub mod priority;
pub mod program;
pub mod ring;
pub mod rundir;
pub mod signals;
pub mod space;
pub mod tap;
pub mod udp;
pub mod userns;
pub mod vnet;
pub mod wake;
