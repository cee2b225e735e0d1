//! The options of a DHCP message, of which only the client identifier is touched. RFC 2132.

use alloc::vec::Vec;

/// Which message it is.
pub(super) const MESSAGE_TYPE: u8 = 53;
/// Who asks.
pub(super) const CLIENT_ID: u8 = 61;

/// The value of an option, its parts joined if it comes in several (RFC 3396). `None` if there is none, or if
/// an option runs over the end.
pub(super) fn get(field: &[u8], code: u8) -> Option<Vec<u8>> {
    let parts = split(field)?;
    let mut found = parts.into_iter().filter(|option| option[0] == code).peekable();
    found.peek()?;
    Some(found.flat_map(|option| &option[2..]).copied().collect())
}

/// Which fixed fields hold options too: 1 the boot file, 2 the server name.
pub(super) fn overload(field: &[u8]) -> u8 {
    get(field, OVERLOAD).and_then(|value| value.first().copied()).unwrap_or(0)
}

/// The field with another client identifier, or without one. If it has none, one is put in only if `insert`
/// says so. Ends in an end option, even if the original did not; padding is left out.
pub(super) fn with_client_id(field: &[u8], id: Option<&[u8]>, insert: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(field.len() + 32);
    let mut id = id;
    for option in split(field)? {
        if option[0] != CLIENT_ID {
            out.extend_from_slice(option);
        } else if let Some(id) = id.take() {
            put(&mut out, id);
        }
    }
    if let Some(id) = id.filter(|_| insert) {
        put(&mut out, id);
    }
    out.push(END);
    Some(out)
}

/// The same within a field of fixed size; left as it is if the new one does not fit.
pub(super) fn replace_in_place(field: &mut [u8], id: Option<&[u8]>) {
    if let Some(new) = with_client_id(field, id, false)
        && new.len() <= field.len()
    {
        field.fill(PAD);
        field[..new.len()].copy_from_slice(&new);
    }
}

fn put(out: &mut Vec<u8>, id: &[u8]) {
    for part in id.chunks(255) {
        out.extend_from_slice(&[CLIENT_ID, u8::try_from(part.len()).expect("chunks of at most 255")]);
        out.extend_from_slice(part);
    }
}

/// Options up to the end option or the end of the field, each with code and length, padding left out.
fn split(mut field: &[u8]) -> Option<Vec<&[u8]>> {
    let mut options = Vec::new();
    loop {
        match field {
            [] | [END, ..] => return Some(options),
            [PAD, rest @ ..] => field = rest,
            [_, len, ..] => {
                let (option, rest) = field.split_at_checked(2 + usize::from(*len))?;
                options.push(option);
                field = rest;
            }
            [_] => return None,
        }
    }
}

const PAD: u8 = 0;
const OVERLOAD: u8 = 52;
const END: u8 = 255;
