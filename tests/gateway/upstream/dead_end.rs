//! Addresses where no server answers, each in its own way.
//!
//! Every one holds its port for as long as the returned value lives, so that no other test can be
//! given it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

/// An address held by its owner.
pub struct DeadEnd {
    address: SocketAddr,
    _socket: Socket,
    _fillers: Vec<Socket>,
}

/// Refuses every connection: the port is taken, but no process listens.
pub fn refusing() -> DeadEnd {
    let (socket, address) = bound();
    DeadEnd { address, _socket: socket, _fillers: Vec::new() }
}

/// Completes connections and never reads or writes on them.
pub fn silent() -> DeadEnd {
    let (socket, address) = bound();
    socket.listen(1024).unwrap();
    DeadEnd { address, _socket: socket, _fillers: Vec::new() }
}

/// Lets connections hang: the queue of connections to accept is full and stays so.
pub fn black_hole() -> DeadEnd {
    let (socket, address) = bound();
    socket.listen(0).unwrap();
    let mut fillers = Vec::new();
    loop {
        match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(filler) => fillers.push(Socket::from(filler)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
            Err(error) => panic!("filling the queue of {address}: {error}"),
        }
    }
    DeadEnd { address, _socket: socket, _fillers: fillers }
}

impl DeadEnd {
    /// Where no server answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a base URL without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn bound() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}
