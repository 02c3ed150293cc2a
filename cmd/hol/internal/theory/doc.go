// Package theory predicts what share of messages a lossy link makes late, from
// the link, the rhythm of the messages and the transport's loss recovery alone.
//
// A packet that is lost is sent again once the sender knows of the loss: a round
// trip later, and a detection time that depends on what follows the packet. Its
// message then comes by the time e = RTT + detection late. Messages that wait
// for it, because they follow it in the same ordered flow, come late by less:
// the one sent t later by e - t. So a message is late by more than a threshold h
// exactly if a packet that it waits for, sent up to e - h before it, was lost;
// with n such packets and independent losses
//
//	share = 1 - (1-p)^n
//
// A packet that is lost k times in a row delays by a longer e of its own, which
// reaches further back with a probability of p^k. The prediction counts up to
// four losses of one packet.
//
// What detects a loss, for a packet that is followed by another every s on its
// connection:
//
//   - tcp: three later segments were received (RFC 5681 Section 3.2), or one
//     that was sent a quarter of the RTT later (RACK, RFC 8985 Section 6.2),
//     whichever is first; the first later segment alone while the sender
//     recovers from another loss already (RFC 8985 Section 6.2.1). To RACK the
//     first later segment does not count if its acknowledgement is also that of
//     the segment before the lost one, which the receiver had kept back (RFC 5681
//     Section 4.2): the age of that one is taken for the round trip then, and the
//     lost one, which is younger, may still come. As every second segment is
//     acknowledged, that is so half of the time, if the next segment comes within
//     the 40 ms for which Linux does this. At the latest the retransmission
//     timeout, of RTT + 200 ms on Linux. A retransmission that was lost is known
//     to be once a segment sent after it was received.
//   - quic: three later packets were acknowledged, or one and 9/8 of the RTT
//     have passed (RFC 9002 Section 6.1); a packet behind a gap is acknowledged
//     at once (RFC 9000 Section 13.2.1). With nothing behind it, a probe after
//     RTT + 25 ms + 1 ms (RFC 9002 Section 6.2). A retransmission is a new packet
//     like any other.
//   - sctp: one later chunk was received, since pion applies RACK without a
//     reordering window; but a chunk is retransmitted fast only once (RFC 9260
//     Section 7.2.4): then the timer, which is at least 1 s.
//
// What it leaves out:
//
//   - Congestion control: a flow that may send is taken for granted, so that what
//     is predicted is head-of-line blocking alone. Predictions are refused where
//     the load has more than half of the bytes of the window that the losses leave
//     to a loss-based congestion control (see limited). Below that QUIC and SCTP,
//     which count bytes, hardly wait. Linux's TCP counts segments, however small:
//     eight channels that send every 20 ms each need 20 under way in a round trip
//     of 50 ms, and losses of 1 and 2 % leave 12 and 8 to cubic. Then messages wait
//     for an acknowledgement, also without a loss, and leave together in one
//     segment, which are fewer to be lost and follow each other later. Measured on
//     one connection (runs of 15 s on a busy machine): at 2 % the window was 8 and 7
//     segments on average and full for 90 % of the time, a segment had 2.5 and 2.8
//     messages, and 32 % were late with 22 and 26 % predicted; of those of the first
//     run nearly half had no lost packet in the 75 ms before them. At 1 % the window
//     was 12, a segment had 1.7 messages, and the two effects made up for each
//     other: 12 % and 13 %. With BBR at 2 %, whose window of 47 hardly mattered,
//     messages left one by one, and 23 and 27 % were late with 22 and 25 %
//     predicted. How late the window alone makes messages is not
//     predicted: an idealised window (see the tests) explains less than what was
//     measured. BBR makes messages late without a loss, as it empties the path to
//     see its round trip.
//   - Losses of acknowledgements: the next one says the same, a packet's spacing
//     later.
//   - The time that the ends need: it is added to the delay of every message, and
//     a message that would come exactly at the threshold counts as late therefore.
//   - What libraries send in more packets than its size needs, such as a stream's
//     header, a request and its end each in a packet of its own: each may be lost.
//   - Messages that wait for two losses in sequence rather than for the longer one:
//     a request and its response (rpc) that each come late by less than the
//     threshold, but by more together.
package theory
