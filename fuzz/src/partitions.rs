//! The operator's partitions.conf.

use ib_sm::partition::{Identity, Membership, Partitions};
use ib_wire::{
    addr::{Guid, Mtu, Rate},
    mad::attr::NodeType,
};

/// Reads `bytes` as a file and asks what every kind of port gets.
pub fn check(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let partitions = match Partitions::parse("partitions.conf", text) {
        Ok(partitions) => partitions,
        Err(error) => {
            assert!((1..=text.lines().count()).contains(&error.line), "{error}");
            assert!(error.to_string().starts_with("partitions.conf:"));
            return;
        }
    };
    let closed = format!("{text}\n# more\n");
    assert_eq!(Partitions::parse("partitions.conf", &closed).as_ref(), Ok(&partitions));

    let mut keys: Vec<u16> = partitions.iter().map(|p| p.pkey.partition()).collect();
    keys.sort_unstable();
    assert!(keys.windows(2).all(|two| two[0] < two[1]), "two partitions of one key");
    for partition in partitions.iter() {
        assert!(partition.pkey.is_valid());
        assert_eq!(partitions.by_key(partition.pkey.full()), Some(partition));
        for group in &partition.groups {
            assert_eq!(group.pkey, partition.pkey.full());
            assert!(group.mtu.bytes().is_some() && group.rate.mbps().is_some());
            assert!(group.flow_label <= 0xf_ffff);
        }
    }
    for node_type in [NodeType::CA, NodeType::SWITCH, NodeType::ROUTER] {
        for (guid, is_own) in [(1, false), (2, true), (0x0002_c903_000e_8a11, false)] {
            port(&partitions, Identity { guid: Guid(guid), node_type, is_own });
        }
    }
}

fn port(partitions: &Partitions, port: Identity) {
    let member_of = partitions.iter().filter(|p| p.membership(port).is_some()).count();
    let keys = partitions.pkeys(port);
    assert_eq!(keys.len(), member_of);
    assert!(keys.iter().all(|key| key.is_valid() && partitions.by_key(*key).is_some()));

    let both = partitions.clone().with_both_keys(true).pkeys(port);
    let doubled = partitions.iter().filter(|p| p.membership(port) == Some(Membership::Both)).count();
    assert_eq!(both.len(), member_of + doubled);

    let reached = partitions.out_of_reach(port, Mtu::B256, Rate(2)).count();
    assert!(reached <= partitions.groups().count());
    assert_eq!(partitions.out_of_reach(port, Mtu::B4096, Rate(24)).count(), 0);
}
