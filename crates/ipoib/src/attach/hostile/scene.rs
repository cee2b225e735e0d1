//! A fabric that is turned by hand, in virtual time.

use std::{env, path::PathBuf, time::Duration};

use ib_fabric::topology;
use ib_lab::{Lab, LabConfig, Output};
use ib_wire::{payload::Pool, time::Instant};

use crate::{
    attach::{Attach, AttachConfig, FIRST_TOKEN, FromDriver, Heard, Hello, Token, VERSION, Wanted},
    os::{poller::Poller, ring::MIN_RING},
};

/// Records taken of one ring before the next has its turn.
const BURST: usize = 64;

/// A managed subnet of three hosts, and its attach socket.
pub(in crate::attach) struct Scene {
    pub(in crate::attach) path: PathBuf,
    pub(in crate::attach) attach: Attach,
    /// What drivers have answered.
    pub(in crate::attach) answers: usize,
    pub(super) now: Instant,
    poller: Poller,
    lab: Lab,
    pool: Pool,
}

impl Scene {
    pub(in crate::attach) fn new() -> Self {
        let path = new_path();
        let poller = Poller::new().expect("epoll");
        let mut config = LabConfig::new(topology::generate("star:3").expect("a plan that there is"));
        config.interfaces = None;
        let now = Instant::from_secs(1);
        let lab = Lab::new(config, now).expect("it can be built");
        let small = AttachConfig { ring: MIN_RING, ..AttachConfig::default() };
        let attach = Attach::start(&path, small, &poller).expect("a socket");
        Self { path, attach, answers: 0, now, poller, lab, pool: Pool::new(crate::face::BUFFER, 4) }
    }

    /// Does all there is to do, at most `turns` times.
    pub(in crate::attach) fn turn(&mut self, turns: usize) {
        for _ in 0..turns {
            let ready: Vec<_> = self.poller.wait(Some(Instant::ZERO)).expect("epoll").collect();
            for ready in ready {
                assert!(ready.token >= FIRST_TOKEN);
                let heard = self.attach.handle(self.now, ready, &mut self.lab, &self.poller);
                self.carry_out();
                if let Heard::Ring(id) = heard {
                    self.read_ring(id);
                }
            }
            self.attach.take_unread(self.now).into_iter().for_each(|id| self.read_ring(id));
            self.answers += self.attach.take_answers().len();
        }
    }

    /// Lets time pass.
    pub(in crate::attach) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..100_000 {
            self.turn(1);
            match self.lab.poll_timeout() {
                Some(next) if next <= until => self.now = self.now.max(next),
                _ => {
                    self.now = until;
                    return;
                }
            }
            self.lab.handle_timeout(self.now);
            self.carry_out();
        }
        panic!("the subnet never rests");
    }

    fn read_ring(&mut self, id: u32) {
        for _ in 0..BURST {
            let Self { attach, lab, poller, pool, now, .. } = self;
            match attach.read(*now, id, lab, poller, pool) {
                Some(Ok((client, FromDriver { nth, request }))) => {
                    let _ = lab.handle_request(*now, client, nth, request);
                }
                Some(Err(_)) => {}
                None => return self.carry_out(),
            }
            self.carry_out();
            if self.attach.hold(self.now, id) {
                return;
            }
        }
        self.attach.leave_unread(id);
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.lab.poll_output() {
            if let Output::Client { client, notice } = output {
                self.attach.deliver(client, notice, &self.lab, &mut self.pool);
            }
        }
    }
}

/// A place for a socket.
pub(super) fn new_path() -> PathBuf {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    env::temp_dir().join(format!("ipoib-attach-{}-{number}", std::process::id()))
}

/// What a driver with one interface says first.
pub(super) fn hello(node: &str, token: Option<Token>) -> Hello {
    let interfaces = vec![Wanted { name: "ib0".to_owned(), qpn: None }];
    Hello { version: VERSION, node: node.to_owned(), port: 1, pid: 1, token, takeover: false, interfaces }
}
