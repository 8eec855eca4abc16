//! How the provider treats one request: how its answer is framed, cut and paced, and what is wrong
//! with it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use fastrand::Rng;

use super::super::peer::{Act, Asked};
use super::bodies::{self, Api, PLANTED};

/// All choices about one request.
#[derive(Clone, Debug)]
pub struct Plan {
    pub provider: usize,
    pub is_streamed: bool,
    /// Whether the request is too large to be sent at once.
    pub is_large: bool,
    /// Whether the client disconnects after the first piece of a stream.
    pub leaves: bool,
    interims: usize,
    framing: Framing,
    cuts: Cuts,
    fault: Option<Fault>,
    after: After,
    dice: u64,
}

/// What the client may expect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected {
    Own,
    OwnOrError,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Sized,
    Chunked,
    UntilClose,
    Sized10,
    SizedKept10,
    UntilClose10,
}

#[derive(Clone, Copy, Debug)]
enum Cuts {
    Whole,
    EveryByte,
    Few,
    FewWithPauses,
}

/// What happens to the connection after the answer.
#[derive(Clone, Copy, Debug)]
enum After {
    Stays,
    SaysClose,
    Closes,
    HalfCloses,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    // These do not touch the client's own answer.
    TwoAnswers,
    Surplus,
    InterimBehind,
    EarlyAnswer,
    // These do.
    EarlyRefusal,
    EarlyRefusalThenReset,
    TooShort,
    TooLong,
    Cut,
    Reset,
    Silence,
    ResetAtOnce,
    NoContent,
    TwoLengths,
    LengthAndChunks,
    BadChunk,
    Folded,
    HugeHead,
    Switched,
    Garbage,
    Refusal,
}

const HARMLESS: [Fault; 4] =
    [Fault::TwoAnswers, Fault::Surplus, Fault::InterimBehind, Fault::EarlyAnswer];

const FAULTS: [Fault; 21] = [
    Fault::TwoAnswers,
    Fault::Surplus,
    Fault::InterimBehind,
    Fault::EarlyAnswer,
    Fault::EarlyRefusal,
    Fault::EarlyRefusalThenReset,
    Fault::TooShort,
    Fault::TooLong,
    Fault::Cut,
    Fault::Reset,
    Fault::Silence,
    Fault::ResetAtOnce,
    Fault::NoContent,
    Fault::TwoLengths,
    Fault::LengthAndChunks,
    Fault::BadChunk,
    Fault::Folded,
    Fault::HugeHead,
    Fault::Switched,
    Fault::Garbage,
    Fault::Refusal,
];

impl Plan {
    /// The plan for a request with this marker.
    pub fn of(seed: u64, marker: &str) -> Self {
        let mut hash = DefaultHasher::new();
        (seed, marker).hash(&mut hash);
        let mut dice = Rng::with_seed(hash.finish());
        let framings = [
            Framing::Sized,
            Framing::Sized,
            Framing::Chunked,
            Framing::Chunked,
            Framing::Chunked,
            Framing::UntilClose,
            Framing::Sized10,
            Framing::SizedKept10,
            Framing::UntilClose10,
        ];
        let cuts = [
            Cuts::Whole,
            Cuts::Whole,
            Cuts::Whole,
            Cuts::EveryByte,
            Cuts::Few,
            Cuts::FewWithPauses,
        ];
        let afters = [
            After::Stays,
            After::Stays,
            After::Stays,
            After::Stays,
            After::SaysClose,
            After::Closes,
            After::HalfCloses,
        ];
        Self {
            provider: dice.usize(..5),
            is_streamed: dice.bool(),
            is_large: dice.u8(..200) == 0,
            leaves: dice.u8(..16) == 0,
            interims: if dice.u8(..3) == 0 { dice.usize(1..5) } else { 0 },
            framing: framings[dice.usize(..framings.len())],
            cuts: cuts[dice.usize(..cuts.len())],
            fault: (dice.u8(..3) == 0).then(|| FAULTS[dice.usize(..FAULTS.len())]),
            after: afters[dice.usize(..afters.len())],
            dice: dice.u64(..),
        }
    }

    pub fn expected(&self) -> Expected {
        match self.fault {
            None | Some(Fault::EarlyAnswer) => Expected::Own,
            // Behind a body that ends with its connection there is nothing that is not of it.
            Some(fault) if HARMLESS.contains(&fault) && !self.ends_with_connection() => {
                Expected::Own
            }
            Some(_) => Expected::OwnOrError,
        }
    }

    fn ends_with_connection(&self) -> bool {
        matches!(self.framing, Framing::UntilClose | Framing::UntilClose10)
    }

    /// What the provider does.
    pub fn acts(&self, api: Api, asked: &Asked) -> Vec<Act> {
        let marker = asked.marker.as_str();
        let mut dice = Rng::with_seed(self.dice);
        let mut acts = Vec::new();
        let is_early = matches!(
            self.fault,
            Some(Fault::EarlyAnswer | Fault::EarlyRefusal | Fault::EarlyRefusalThenReset)
        );
        if !is_early {
            acts.push(Act::ReadBody);
        }
        let body = match self.is_streamed {
            true => bodies::streamed(api, marker),
            false => bodies::whole(api, marker),
        };
        let bytes = self.bytes(&mut dice, &body, marker);
        acts.extend(self.paced(&mut dice, &bytes));
        match self.fault {
            Some(Fault::EarlyRefusalThenReset | Fault::Reset | Fault::ResetAtOnce) => {
                acts.push(Act::Reset);
            }
            Some(Fault::Cut | Fault::Silence | Fault::TooLong) => acts.push(Act::Close),
            _ if self.ends_with_connection() => {
                acts.extend([Act::ReadBody, Act::Close]);
            }
            _ => match self.after {
                After::Stays | After::SaysClose => {}
                After::Closes => acts.extend([Act::ReadBody, Act::Close]),
                After::HalfCloses => acts.push(Act::Fin),
            },
        }
        acts
    }

    /// Everything that is sent.
    fn bytes(&self, dice: &mut Rng, body: &str, marker: &str) -> Vec<u8> {
        let own = self.framed(dice, body);
        let mut said = interims(dice, self.interims);
        match self.fault {
            None | Some(Fault::EarlyAnswer) => said += &own,
            // Bytes after the end have to arrive with the end, or nothing could distinguish them
            // from an answer.
            Some(Fault::TwoAnswers) => said += &format!("{own}{own}"),
            Some(Fault::Surplus) => said += &format!("{own}{}", &own[..dice.usize(1..own.len())]),
            Some(Fault::InterimBehind) => said += &format!("{own}{}", interims(dice, 1)),
            Some(Fault::EarlyRefusal | Fault::EarlyRefusalThenReset | Fault::Refusal) => {
                let words = format!("{{\"error\":{{\"message\":\"{marker} said\"}}}}");
                let length = words.len();
                said += &format!("HTTP/1.1 413 x\r\ncontent-length: {length}\r\n\r\n{words}");
            }
            Some(Fault::TooShort) => {
                let length = dice.usize(..body.len());
                said += &format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            }
            Some(Fault::TooLong) => {
                let length = body.len() + dice.usize(1..100);
                said += &format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            }
            Some(Fault::Cut | Fault::Reset) => said += &own[..dice.usize(..own.len())],
            Some(Fault::Silence | Fault::ResetAtOnce) => said.clear(),
            Some(Fault::NoContent) => {
                let planted = bodies::whole(Api::Ollama, PLANTED);
                let length = planted.len();
                said += &format!("HTTP/1.1 204 x\r\ncontent-length: {length}\r\n\r\n{planted}");
            }
            Some(Fault::TwoLengths) => {
                let length = body.len();
                let lengths = format!("content-length: {length}\r\ncontent-length: 7\r\n");
                said += &format!("HTTP/1.1 200 OK\r\n{lengths}\r\n{body}");
            }
            Some(Fault::LengthAndChunks) => {
                let fields = "content-length: 7\r\ntransfer-encoding: chunked\r\n";
                said += &format!("HTTP/1.1 200 OK\r\n{fields}\r\n{}", chunks(dice, body));
            }
            Some(Fault::BadChunk) => {
                let bad = ["-1\r\n", "zz\r\n", "5\n", "11111111111111111\r\n"][dice.usize(..4)];
                said += "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                said += bad;
                said += body;
            }
            Some(Fault::Folded) => {
                let length = body.len();
                said += &format!("HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: {length}\r\n");
                said += &format!("\r\n{body}");
            }
            Some(Fault::HugeHead) => {
                said += &format!("HTTP/1.1 200 OK\r\na: {}\r\n{own}", "b".repeat(70_000));
            }
            Some(Fault::Switched) => said += &format!("HTTP/1.1 101 x\r\nupgrade: x\r\n\r\n{own}"),
            Some(Fault::Garbage) => said = format!("SSH-2.0-x\r\n\r\n{own}"),
        }
        said.into_bytes()
    }

    /// The answer as the framing wants it.
    fn framed(&self, dice: &mut Rng, body: &str) -> String {
        let length = body.len();
        let close = match self.after {
            After::SaysClose => "connection: close\r\n",
            After::Stays | After::Closes | After::HalfCloses => "",
        };
        match self.framing {
            Framing::Sized => {
                format!("HTTP/1.1 200 OK\r\n{close}content-length: {length}\r\n\r\n{body}")
            }
            Framing::Chunked => {
                let chunks = chunks(dice, body);
                format!("HTTP/1.1 200 OK\r\n{close}transfer-encoding: chunked\r\n\r\n{chunks}")
            }
            Framing::UntilClose => format!("HTTP/1.1 200 OK\r\n{close}\r\n{body}"),
            Framing::Sized10 => {
                format!("HTTP/1.0 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
            }
            Framing::SizedKept10 => format!(
                "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: {length}\r\n\r\n{body}"
            ),
            Framing::UntilClose10 => format!("HTTP/1.0 200 OK\r\n\r\n{body}"),
        }
    }

    /// The bytes in the writes that were planned. Bytes after an end are never separated from it.
    fn paced(&self, dice: &mut Rng, bytes: &[u8]) -> Vec<Act> {
        let is_behind = [Fault::TwoAnswers, Fault::Surplus, Fault::InterimBehind, Fault::TooShort]
            .map(Some)
            .contains(&self.fault);
        let pieces: Vec<&[u8]> = match self.cuts {
            _ if is_behind || bytes.len() > 20_000 => vec![bytes],
            Cuts::Whole => vec![bytes],
            Cuts::EveryByte => bytes.chunks(1).collect(),
            Cuts::Few | Cuts::FewWithPauses => bytes.chunks(dice.usize(1..200)).collect(),
        };
        let mut acts = Vec::new();
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            acts.push(Act::Write(piece.to_vec()));
            if matches!(self.cuts, Cuts::FewWithPauses) && dice.u8(..4) == 0 {
                acts.push(Act::Pause(Duration::from_millis(dice.u64(1..6))));
            }
        }
        acts
    }
}

fn interims(dice: &mut Rng, count: usize) -> String {
    let heads = [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\na: b\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n",
        "HTTP/1.1 199 x\r\ncontent-length: 5\r\n\r\n",
    ];
    (0..count).map(|_| heads[dice.usize(..heads.len())]).collect()
}

/// A body in chunks of random sizes, some with extensions, perhaps with trailers.
fn chunks(dice: &mut Rng, body: &str) -> String {
    let mut chunks = String::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(dice.usize(1..=rest.len()));
        let extension = ["", ";a=b", " ;x=\"y z\""][dice.usize(..3)];
        chunks += &format!("{:x}{extension}\r\n{chunk}\r\n", chunk.len());
        rest = behind;
    }
    let trailers = ["", "x-sum: 1\r\n", "a: b\r\nc:\r\n"][dice.usize(..3)];
    format!("{chunks}0\r\n{trailers}\r\n")
}
