//! What is cabled to what: the plan a fabric is built from, and the files it is written in.
//!
//! ```
//! use ib_fabric::topology;
//!
//! let lab = topology::generate("pair").unwrap();
//! assert_eq!(lab.counts().to_string(), "2 switches, 4 hosts, 6 links");
//! let h3 = lab.find("h3").unwrap();
//! assert_eq!(lab[lab.adjacency().links(h3)[0].peer.node].name, "sw2");
//! ```
//!
//! A [`Topology`] is plain data: nodes, links, nothing that runs and nothing that an SM decides. It comes from
//! - [`generate`]: a word such as `pair` or `fat-tree:k=4`;
//! - [`parse`]: a file, in our own TOML ([`parse_toml`]) or in the form shared by ibsim and `ibnetdiscover`
//!   ([`parse_ibnet`]);
//! - [`Topology::add_switch`], [`Topology::add_host`] and [`Topology::connect`]: code.
//!
//! The first two have been through [`Topology::normalize`] and [`Topology::validate`]; after the third, call them.
//! Nothing here reads a file: the caller brings the text.

mod check;
mod detect;
mod error;
mod generate;
mod guid;
mod ibnet;
mod ibnet_line;
mod ibnet_writer;
mod mishap;
mod model;
mod names;
mod quantity;
mod toml;
mod toml_writer;
mod udp;

pub use check::Warning;
pub use detect::parse;
pub use error::{Reason, TopologyError, TopologyErrors};
pub use generate::{GENERATORS, GenerateError, GeneratorHelp, generate};
pub use guid::{GUID_PREFIX, assigned_node_guid, assigned_port_guid};
pub use ibnet::parse_ibnet;
pub use ibnet_writer::to_ibnetdiscover;
pub use mishap::{Mishap, Shares};
pub use model::{
    Adjacency, Counts, Endpoint, Link, LinkModel, Neighbor, Node, NodeIndex, NodeKind, PortSpec, Topology,
};
pub use quantity::{BadQuantity, Probability, format_duration, parse_duration, parse_speed, parse_width};
pub use toml::parse_toml;
pub use toml_writer::to_toml;
pub use udp::{UdpEnds, UdpLink};
