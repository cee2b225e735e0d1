//! Telling a service manager how it stands, as sd_notify(3) does.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// Says these assignments, one a line: `READY=1`, `STATUS=...`, `STOPPING=1`. Nothing if nobody asked to be told.
pub fn tell(what: &str) {
    let Some(place) = env::var_os("NOTIFY_SOCKET") else { return };
    let told = send(&place.to_string_lossy(), what);
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

fn send(place: &str, what: &str) -> io::Result<()> {
    let address = match place.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    UnixDatagram::unbound()?.send_to_addr(what.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_hears_it_by_path_and_by_name() {
        let path = env::temp_dir().join(format!("ipoib-notify-{}", std::process::id()));
        let name = format!("ipoib-notify-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let listeners = [
            (UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}")),
        ];
        for (socket, place) in listeners {
            send(&place, "READY=1").unwrap();
            let mut space = [0; 16];
            let len = socket.recv(&mut space).unwrap();
            assert_eq!(&space[..len], b"READY=1");
        }
        std::fs::remove_file(path).unwrap();
    }
}
