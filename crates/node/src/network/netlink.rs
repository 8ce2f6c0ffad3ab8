//! As much of rtnetlink as network namespaces need: links, addresses, routes. One request may carry several messages.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// What `linux/if_link.h`, `linux/veth.h` and `linux/rtnetlink.h` call these.
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const NESTED: u16 = 0x8000;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const HEADER_BYTES: usize = 16;
const UP: u32 = 1;
/// The loopback device has this number in every namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// A socket to the kernel, in the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

/// One end of a veth pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its number, which must be free; 0 leaves the choice to the kernel, but then for both ends.
    pub(crate) index: u32,
}

/// Messages that are sent together and carried out in their order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    whats: Vec<&'static str>,
}

impl Netlink {
    /// Opens a socket in the namespace of this thread.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn open() -> io::Result<Self> {
        // the first protocol of netlink is routes
        let flags = SocketFlags::CLOEXEC;
        Ok(Self(rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?))
    }

    /// Has the kernel carry out all messages.
    ///
    /// # Errors
    /// The first that failed; those after it were tried all the same.
    pub(crate) fn run(&self, batch: &Batch) -> io::Result<()> {
        let sent =
            rustix::io::retry_on_intr(|| rustix::net::send(&self.0, &batch.bytes, SendFlags::empty()))?;
        if sent != batch.bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut failure = Ok(());
        let mut answered = 0;
        let mut buffer = vec![0; 8192];
        while answered < batch.whats.len() {
            // rtnetlink answers before `send` returns
            let (_, length) = rustix::net::recv(&self.0, buffer.as_mut_slice(), RecvFlags::DONTWAIT)?;
            for code in error_codes(&buffer[..length.min(buffer.len())]) {
                if code != 0 && failure.is_ok() {
                    let error = io::Error::from_raw_os_error(-code);
                    let what = batch.whats.get(answered).copied().unwrap_or("do that");
                    failure = Err(io::Error::new(error.kind(), format!("cannot {what}: {error}")));
                }
                answered += 1;
            }
        }
        failure
    }
}

/// The codes in a datagram of answers; 0 is success.
fn error_codes(mut bytes: &[u8]) -> Vec<i32> {
    let mut codes = Vec::new();
    while let (Some(length), Some(kind)) = (bytes.first_chunk::<4>(), bytes.get(4..6)) {
        let length = usize::try_from(u32::from_ne_bytes(*length)).unwrap_or(usize::MAX);
        if kind == NLMSG_ERROR.to_ne_bytes()
            && let Some(code) = bytes.get(HEADER_BYTES..).and_then(<[u8]>::first_chunk::<4>)
        {
            codes.push(i32::from_ne_bytes(*code));
        }
        let next = length.max(HEADER_BYTES).next_multiple_of(4);
        bytes = bytes.get(next..).unwrap_or_default();
    }
    codes
}

impl Batch {
    /// Makes a veth pair: one end here, the other in `namespace`.
    pub(crate) fn veth(&mut self, here: End<'_>, there: End<'_>, namespace: BorrowedFd<'_>, mtu: u32) {
        let mut peer = link_header(there.index, 0).to_vec();
        string(&mut peer, IFLA_IFNAME, there.name);
        attribute(&mut peer, IFLA_MTU, &mtu.to_ne_bytes());
        attribute(&mut peer, IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        let mut data = Vec::new();
        attribute(&mut data, VETH_INFO_PEER | NESTED, &peer);
        let mut info = Vec::new();
        string(&mut info, IFLA_INFO_KIND, "veth");
        attribute(&mut info, IFLA_INFO_DATA | NESTED, &data);
        let mut message = link_header(here.index, 0).to_vec();
        string(&mut message, IFLA_IFNAME, here.name);
        attribute(&mut message, IFLA_MTU, &mtu.to_ne_bytes());
        attribute(&mut message, IFLA_LINKINFO | NESTED, &info);
        self.message("make a veth pair", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &message);
    }

    /// Switches a link on.
    pub(crate) fn up(&mut self, index: u32) {
        self.message("switch a link on", RTM_NEWLINK, 0, &link_header(index, UP));
    }

    /// Switches a link on that is known by name.
    pub(crate) fn up_named(&mut self, name: &str) {
        let mut message = link_header(0, UP).to_vec();
        string(&mut message, IFLA_IFNAME, name);
        self.message("switch a link on", RTM_NEWLINK, 0, &message);
    }

    /// Removes a link, and with it the other end.
    pub(crate) fn remove_named(&mut self, name: &str) {
        let mut message = link_header(0, 0).to_vec();
        string(&mut message, IFLA_IFNAME, name);
        self.message("remove a link", RTM_DELLINK, 0, &message);
    }

    /// Gives a link an address.
    pub(crate) fn address(&mut self, index: u32, address: Ipv4Addr, prefix: u8) {
        let mut message = vec![ipv4(), prefix, 0, 0];
        message.extend(index.to_ne_bytes());
        attribute(&mut message, IFA_LOCAL, &address.octets());
        attribute(&mut message, IFA_ADDRESS, &address.octets());
        self.message("add an address", RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &message);
    }

    /// A route to one address, which is on the link.
    pub(crate) fn route(&mut self, index: u32, to: Ipv4Addr) {
        let mut message = route_header(32, libc::RT_SCOPE_LINK);
        attribute(&mut message, RTA_DST, &to.octets());
        attribute(&mut message, RTA_OIF, &index.to_ne_bytes());
        self.message("add a route", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &message);
    }

    /// The route for all that has no other.
    pub(crate) fn default_route(&mut self, index: u32, gateway: Ipv4Addr) {
        let mut message = route_header(0, libc::RT_SCOPE_UNIVERSE);
        attribute(&mut message, RTA_GATEWAY, &gateway.octets());
        attribute(&mut message, RTA_OIF, &index.to_ne_bytes());
        self.message("add the default route", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &message);
    }

    fn message(&mut self, what: &'static str, kind: u16, flags: u16, body: &[u8]) {
        self.whats.push(what);
        let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
        let number = u32::try_from(self.whats.len()).unwrap_or(0);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        self.bytes.extend(number.to_ne_bytes());
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(body);
        pad(&mut self.bytes);
    }
}

fn ipv4() -> u8 {
    u8::try_from(libc::AF_INET).unwrap_or(0)
}

fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

fn route_header(prefix: u8, scope: u8) -> Vec<u8> {
    let (table, protocol, kind) = (libc::RT_TABLE_MAIN, libc::RTPROT_STATIC, libc::RTN_UNICAST);
    vec![ipv4(), prefix, 0, 0, table, protocol, scope, kind, 0, 0, 0, 0]
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    pad(bytes);
}

fn string(bytes: &mut Vec<u8>, kind: u16, text: &str) {
    let value: Vec<u8> = text.bytes().chain([0]).collect();
    attribute(bytes, kind, &value);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_aligned_and_numbered() {
        let mut batch = Batch::default();
        batch.up(LOOPBACK);
        batch.remove_named("abc");
        assert_eq!(batch.bytes.len(), 32 + 40);
        assert_eq!(batch.bytes[..4], 32_u32.to_ne_bytes());
        assert_eq!(batch.bytes[32..36], 40_u32.to_ne_bytes());
        assert_eq!(batch.bytes[40..44], 2_u32.to_ne_bytes());
    }

    #[test]
    fn answers_that_are_cut_or_absurd_are_no_answers() {
        let mut answer = vec![0; 20];
        answer[..4].copy_from_slice(&20_u32.to_ne_bytes());
        answer[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        answer[16..].copy_from_slice(&(-libc::EEXIST).to_ne_bytes());
        assert_eq!(error_codes(&answer), [-libc::EEXIST]);
        assert!(error_codes(&answer[..18]).is_empty());
        answer[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(error_codes(&answer), [-libc::EEXIST]);
        assert!(error_codes(&[0; 64]).is_empty());
    }

    #[test]
    fn the_kernel_says_what_failed() {
        let mut batch = Batch::default();
        batch.remove_named("no-such-link");
        batch.remove_named("nor-this");
        let error = Netlink::open().unwrap().run(&batch).unwrap_err().to_string();
        assert!(error.starts_with("cannot remove a link: "), "{error}");
    }
}
