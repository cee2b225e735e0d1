//! The plan of `ipoib up`.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};

use super::{
    args::UpArgs,
    plan::{children, spin},
};
use crate::{
    attach::SOCKET,
    face::Assigned,
    os::{netns, rundir},
    up::UpPlan,
};

impl UpPlan {
    /// Makes the plan that the arguments ask for.
    pub(super) fn new(args: UpArgs) -> Result<Self> {
        let args = args.with_file()?;
        let port =
            args.port.context("no port: give --port FABRIC:HOST, or write port = ... into the file")?;
        let Port { fabric, node, port } = Port::read(&port).map_err(|error| anyhow!("--port {error}"))?;
        let socket =
            if fabric.contains('/') { PathBuf::from(&fabric) } else { rundir::path(&fabric).join(SOCKET) };
        let given = args.children.iter().map(|text| child(text).with_context(|| format!("--child {text}")));
        let (children, child_addresses) = given.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        Ok(Self {
            interface: args.interface.unwrap_or_else(|| "ib0".to_owned()),
            socket,
            fabric,
            node,
            port,
            netns: args.netns.as_deref().map(netns::file),
            addresses: args
                .addresses
                .iter()
                .map(|text| address(text))
                .collect::<Result<_>>()
                .context("--address")?,
            children,
            child_addresses,
            max_address_vector: usize::try_from(args.max_address_vector.unwrap_or(2048))?,
            max_groups: usize::try_from(args.max_groups.unwrap_or(4096))?,
            tx_ring_size: args.tx_ring_size.unwrap_or(128),
            spin: spin(args.spin.as_deref())?,
            state: args.state.unwrap_or_else(rundir::ports),
            takeover: args.takeover,
            wait: args.wait,
            shares_host: args.shares_host,
            verbosity: if args.quiet { 0 } else { 1 + args.verbose },
        })
    }
}

/// What `--port` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Port {
    fabric: String,
    node: String,
    port: u8,
}

impl Port {
    pub(super) fn read(text: &str) -> Result<Self> {
        let wrong = || format!("{text}: write FABRIC:HOST, such as lab:h1, or lab:h1:2 for its second port");
        let (before, last) = text.rsplit_once(':').with_context(wrong)?;
        let (fabric, node, port) = match (last.parse::<u8>(), before.rsplit_once(':')) {
            (Ok(port), Some((fabric, node))) => (fabric, node, port),
            _ => (before, last, 1),
        };
        if fabric.is_empty() || node.is_empty() || port == 0 {
            bail!(wrong());
        }
        Ok(Self { fabric: fabric.to_owned(), node: node.to_owned(), port })
    }
}

pub(super) fn address(text: &str) -> Result<Assigned> {
    text.parse().map_err(anyhow::Error::msg)
}

pub(super) fn child(text: &str) -> Result<(ib_wire::addr::PKey, Vec<Assigned>)> {
    let mut words = text.split(',');
    let key = children(&[words.next().unwrap_or_default().to_owned()])?;
    let key = key.first().copied().context("no P_Key")?;
    Ok((key, words.map(address).collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_a_fabric_a_host_and_perhaps_a_number() {
        let port = |text| Port::read(text).map(|p| (p.fabric, p.node, p.port)).ok();
        let is = |fabric: &str, node: &str, port| Some((fabric.to_owned(), node.to_owned(), port));
        assert_eq!(port("lab:h1"), is("lab", "h1", 1));
        assert_eq!(port("lab:h1:2"), is("lab", "h1", 2));
        assert_eq!(port("/run/a:b/attach:h1"), is("/run/a:b/attach", "h1", 1));
        assert_eq!(port("h1"), None);
        assert_eq!(port("lab:h1:0"), None);
        assert!(Port::read("h1").unwrap_err().to_string().contains("lab:h1"));
    }

    #[test]
    fn a_child_brings_its_addresses() {
        let (key, addresses) = child("8001,10.78.0.1/24,fd78::1/64").unwrap();
        assert_eq!((key.0, addresses.len()), (0x8001, 2));
        assert!(child("8001,10.78.0.1").unwrap_err().to_string().contains("prefix length"));
        assert!(child("ffff").is_err());
    }
}
