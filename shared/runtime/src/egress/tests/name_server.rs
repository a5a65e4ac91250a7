//! A name server over UDP and TCP that changes its mind, and what may come of that.

use std::net::Ipv4Addr;

use super::*;

/// What the server says, and how.
#[derive(Clone, Copy)]
enum Says {
    Address(Ipv4Addr),
    /// Over UDP only that the answer is too long for it.
    AddressOverTcp(Ipv4Addr),
    /// An alias first, whose name is a pointer into the question.
    Alias(Ipv4Addr),
    NoSuchName,
    /// A record that claims to be longer than the message.
    Nonsense,
    /// Under another number: somebody's guess, followed by the answer.
    Forged {
        first: Ipv4Addr,
        then: Ipv4Addr,
    },
}

/// Answers questions for IPv4 addresses in turn, the last one for ever; those for IPv6 with nothing.
struct NameServerStub {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl NameServerStub {
    async fn saying(answers: Vec<Says>) -> Self {
        let (udp, tcp, address) = Self::sockets().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, last) = (Arc::clone(&asked), answers[answers.len() - 1]);
        tokio::spawn(async move {
            let mut query = [0; 512];
            loop {
                let (length, from) = udp.recv_from(&mut query).await.expect("a question");
                let query = &query[..length];
                let is_v4 = query[length - 4..length - 2] == [0, 1];
                if !is_v4 {
                    udp.send_to(&message(query, 0, &[]), from).await.expect("sent");
                    continue;
                }
                let says = answers[count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
                for answer in over_udp(query, says) {
                    udp.send_to(&answer, from).await.expect("sent");
                }
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = tcp.accept().await.expect("a connection");
                let mut query = vec![0; socket.read_u16().await.expect("a length").into()];
                socket.read_exact(&mut query).await.expect("a question");
                let Says::AddressOverTcp(ip) = last else { continue };
                let answer = message(&query, 0, &record(ip));
                let length = u16::try_from(answer.len()).expect("it is short").to_be_bytes();
                socket.write_all(&[&length[..], &answer].concat()).await.expect("sent");
            }
        });
        Self { address, asked }
    }

    /// Both at one address: a port that is free for datagrams may be somebody's for connections.
    async fn sockets() -> (UdpSocket, TcpListener, SocketAddr) {
        for _ in 0..100 {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
            let address = udp.local_addr().expect("an address");
            if let Ok(tcp) = TcpListener::bind(address).await {
                return (udp, tcp, address);
            }
        }
        panic!("no port is free for both");
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        NameServer(self.address).addresses("hooks.example").await
    }

    /// A client of somebody who may reach 127.0.0.1 and nothing else of this machine: it stands for the internet here.
    fn client(&self) -> Client {
        let policy =
            Policy { allow_networks: vec!["127.0.0.1".parse().expect("an address")], ..Policy::tenant() };
        let resolver = SplitResolver { strangers: NameServer(self.address), listed: Vec::new() };
        Client::with_resolver(policy, Arc::new(resolver)).expect("a client")
    }
}

/// An answer to `query` with the records `records`.
fn message(query: &[u8], code: u8, records: &[u8]) -> Vec<u8> {
    let count = u8::from(!records.is_empty());
    let head = [query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    [&head[..], &query[12..], records].concat()
}

fn record(ip: Ipv4Addr) -> Vec<u8> {
    // The name is the one at byte 12; type A, class IN, 60 seconds, four bytes.
    [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4][..], &ip.octets()].concat()
}

fn over_udp(query: &[u8], says: Says) -> Vec<Vec<u8>> {
    match says {
        Says::Address(ip) => vec![message(query, 0, &record(ip))],
        Says::AddressOverTcp(_) => {
            let mut cut = message(query, 0, &[]);
            cut[2] |= 2;
            vec![cut]
        }
        Says::Alias(ip) => {
            let alias = [&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 6, 3][..], b"web", &[0xc0, 12]].concat();
            let target = [&[3][..], b"web", &record(ip)].concat();
            let mut both = message(query, 0, &[alias, target].concat());
            both[7] = 2;
            vec![both]
        }
        Says::NoSuchName => vec![message(query, 3, &[])],
        Says::Nonsense => vec![message(query, 0, &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 255, 255, 1])],
        Says::Forged { first, then } => {
            let mut forged = message(query, 0, &record(first));
            forged[0] ^= 0xff;
            vec![forged, message(query, 0, &record(then))]
        }
    }
}

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const INSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test]
async fn a_name_that_is_rebound_after_the_check_gains_nothing() {
    let outside = Server::answering(vec![ok("outside")]).await;
    let inside = Server::at(&format!("127.0.0.2:{}", outside.port), vec![ok("inside")]).await;
    let names = NameServerStub::saying(vec![Says::Address(OUTSIDE), Says::Address(INSIDE)]).await;
    let client = names.client();
    let url = format!("http://rebind.example:{}/", outside.port);

    let answer = client.send(Request::get(&url)).await.expect("the first answer is permitted");
    assert_eq!(answer.bytes().await.expect("a body"), "outside");
    assert_eq!(names.asked(), 1, "what was checked is what was connected to: nobody asked again");

    let refused = client.send(Request::get(&url)).await.expect_err("the second is not");
    assert!(is_forbidden(&refused), "{refused:?}");
    assert_eq!((names.asked(), inside.requests().len()), (2, 0));
}

#[tokio::test]
async fn aliases_and_answers_that_do_not_fit_a_datagram_lead_to_their_addresses() {
    for says in [Says::Address(OUTSIDE), Says::Alias(OUTSIDE), Says::AddressOverTcp(OUTSIDE)] {
        let names = NameServerStub::saying(vec![says]).await;
        assert_eq!(names.addresses().await.expect("an address"), [SocketAddr::from((OUTSIDE, 0))]);
    }
}

#[tokio::test]
async fn an_answer_to_another_question_is_not_believed() {
    let names = NameServerStub::saying(vec![Says::Forged { first: INSIDE, then: OUTSIDE }]).await;
    assert_eq!(names.addresses().await.expect("an address"), [SocketAddr::from((OUTSIDE, 0))]);
}

#[tokio::test]
async fn no_such_name_and_nonsense_are_errors_and_never_addresses() {
    use std::io::ErrorKind;
    for (says, kind) in [(Says::NoSuchName, ErrorKind::NotFound), (Says::Nonsense, ErrorKind::NotFound)] {
        let names = NameServerStub::saying(vec![says]).await;
        assert_eq!(names.addresses().await.expect_err("no address").kind(), kind);
    }
    let server = NameServer("127.0.0.1:9".parse().expect("an address"));
    let long = "x".repeat(64);
    for name in ["", "a..b", long.as_str(), &"abc.".repeat(70)] {
        assert_eq!(server.addresses(name).await.expect_err(name).kind(), ErrorKind::InvalidInput, "{name}");
    }
}
