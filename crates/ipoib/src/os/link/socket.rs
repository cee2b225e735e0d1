//! Asking the kernel and reading its answer.

use std::{
    fmt::Display,
    io::{self, ErrorKind},
};

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::LinkError;

/// Above what the kernel puts into one datagram.
const RECEIVE: usize = 64 * 1024;
/// Times a list is asked for that changed while it was read.
const ATTEMPTS: u32 = 10;

/// A request, and of what it is, for the error.
pub(super) type Asked<T> = Result<T, (io::Error, Option<String>)>;

/// A conversation with the routing part of the kernel, in one network namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buf: Vec<u8>,
}

impl Netlink {
    /// Opens one in the calling thread's network namespace.
    pub fn open() -> Result<Self, LinkError> {
        let socket = connect().map_err(|source| LinkError {
            what: "open",
            name: "netlink".to_owned(),
            said: None,
            source,
        })?;
        Ok(Self { socket, sequence: 0, buf: Vec::with_capacity(RECEIVE) })
    }

    /// Asks for a change and waits until it is made.
    pub(super) fn change(
        &mut self,
        what: &'static str,
        name: impl Display,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), LinkError> {
        self.exchange(message, flags | NLM_F_ACK, |_| {}).map_err(|e| error(what, &name, e))?;
        Ok(())
    }

    /// Asks for one thing.
    pub(super) fn get(
        &mut self,
        what: &'static str,
        name: impl Display,
        message: RouteNetlinkMessage,
    ) -> Result<Option<RouteNetlinkMessage>, LinkError> {
        let mut found = None;
        self.exchange(message, NLM_F_ACK, |m| found = Some(m)).map_err(|e| error(what, &name, e))?;
        Ok(found)
    }

    /// Asks for a list, and again if it changed meanwhile.
    pub(super) fn dump(
        &mut self,
        what: &'static str,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, LinkError> {
        let mut found = Vec::new();
        for _ in 0..ATTEMPTS {
            found.clear();
            let answer = self.exchange(message.clone(), NLM_F_DUMP, |m| found.push(m));
            if !answer.map_err(|e| error(what, &"all interfaces", e))? {
                break;
            }
        }
        Ok(found)
    }

    /// Sends a request and hands on what is answered. True if the answer is a list that changed meanwhile.
    fn exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> Asked<bool> {
        self.send(message, flags).map_err(|e| (e, None))?;
        let mut changed = false;
        loop {
            self.receive().map_err(|e| (e, None))?;
            let mut rest = self.buf.as_slice();
            while let Some((answer, after)) = split(rest) {
                rest = after;
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer)
                    .map_err(|e| (io::Error::new(ErrorKind::InvalidData, e), None))?;
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                changed |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::Error(ErrorMessage { code: None, .. }) | NetlinkPayload::Done(_) => {
                        return Ok(changed);
                    }
                    NetlinkPayload::Error(refusal) => return Err((refusal.to_io(), said(&refusal.header))),
                    NetlinkPayload::InnerMessage(message) => each(message),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        self.buf.clear();
        loop {
            match self.socket.recv(&mut self.buf, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // Both only make errors better; the second keeps our own request out of them.
    let _ = socket.set_ext_ack(true);
    let _ = socket.set_cap_ack(true);
    Ok(socket)
}

fn error(what: &'static str, name: &dyn Display, (source, said): (io::Error, Option<String>)) -> LinkError {
    LinkError { what, name: name.to_string(), said, source }
}

/// Cuts the first message off a datagram. `None` at its end, or where it makes no sense.
pub(in crate::os) fn split(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = usize::try_from(u32::from_ne_bytes(*datagram.first_chunk()?)).ok()?;
    let message = datagram.get(..len).filter(|_| len >= 16)?;
    Some((message, datagram.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

/// Cuts the first attribute off a list: its kind, its value, the rest.
pub(in crate::os) fn split_attribute(list: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let &[l0, l1, k0, k1, ..] = list else { return None };
    let len = usize::from(u16::from_ne_bytes([l0, l1]));
    let value = list.get(4..len)?;
    // The two top bits say how the value is coded.
    let kind = u16::from_ne_bytes([k0, k1]) & 0x3fff;
    Some((kind, value, list.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

/// The kernel's words in a refusal: after the header of our request, attribute 1.
fn said(refusal: &[u8]) -> Option<String> {
    let mut rest = refusal.get(16..)?;
    while let Some((kind, value, after)) = split_attribute(rest) {
        if kind == 1 {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernels_words_are_found() {
        let mut refusal = vec![0; 16];
        refusal.extend([9, 0, 2, 0, 1, 2, 3, 4, 5, 0, 0, 0]);
        refusal.extend([7, 0, 1, 0, b'n', b'o', 0, 0]);
        assert_eq!(said(&refusal).as_deref(), Some("no"));
        assert_eq!(said(&[]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_cutters_panic_or_stand_still(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            while let Some((message, after)) = split(rest) {
                prop_assert!(message.len() >= 16 && after.len() < rest.len());
                rest = after;
            }
            let mut rest = bytes.as_slice();
            while let Some((_, _, after)) = split_attribute(rest) {
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
            said(&bytes);
        }
    }
}
