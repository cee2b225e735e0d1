//! What belongs to the interfaces of hosts.

use serde_json::Value;

use super::{ABSENT, Lines, interface, lid, stacked, text};

/// Interfaces, their state and addresses.
pub(super) fn hosts(rows: &[Value]) -> Option<String> {
    let mut lines = Lines::new(&["HOST", "STATE", "LID>", "IP=", "MAC AND GUID, 20 OCTETS="]);
    for row in rows {
        lines.add([
            interface(row, "name"),
            stacked([text(row, "state"), text(row, "reason")]),
            lid(row),
            stacked([text(row, "ipv4"), text(row, "ipv6")]),
            hardware(row),
        ]);
    }
    lines.print()
}

/// The MAC that the host sees and the port's GUID, and the 20 octets that the MAC stands for, twelve on a line: so
/// the second one is the GUID, too.
fn hardware(row: &Value) -> String {
    let names = format!("{}  {}", text(row, "mac"), text(row, "guid"));
    let address = text(row, "address");
    // An octet and its colon are three characters.
    match address.split_at_checked(36).filter(|(head, _)| head.ends_with(':')) {
        Some((head, tail)) => stacked([names, head.into(), tail.into()]),
        None => stacked([names, address]),
    }
}

/// Whom each interface can send to.
pub(super) fn neighbors(rows: &[Value]) -> Option<String> {
    let mut lines = Lines::new(&["HOST", "PEER", "IP", "MAC, GID", "QPN", "LID>", "STATE", "PACKETS>"]);
    for row in rows {
        lines.add([
            interface(row, "host"),
            text(row, "peer"),
            text(row, "ip"),
            stacked([text(row, "mac"), text(row, "gid")]),
            text(row, "qpn"),
            lid(row),
            text(row, "state"),
            text(row, "packets"),
        ]);
    }
    lines.print()
}

/// Path records that interfaces hold.
pub(super) fn paths(rows: &[Value]) -> Option<String> {
    let headings = ["HOST", "PEER", "GID", "STATE", "LID>", "SL>", "MTU>", "GB/S>", "USED BY>"];
    let mut lines = Lines::new(&headings);
    for row in rows {
        let known = lid(row) != ABSENT;
        let of_path = |field| if known { text(row, field) } else { ABSENT.into() };
        lines.add([
            interface(row, "host"),
            text(row, "peer"),
            text(row, "gid"),
            text(row, "state"),
            lid(row),
            of_path("sl"),
            of_path("mtu"),
            of_path("rate"),
            text(row, "neighbors"),
        ]);
    }
    lines.print()
}
