package negotiate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

const msec = time.Millisecond

var (
	errDead    = errors.New("dead network")
	errRefused = errors.New("answered no")
	errHigher  = errors.New("reached, but takes none")
	errLast    = errors.New("answered no, perhaps for want of knowledge")
	errCrowded = errors.New("answered that there is no room")
)

func TestRace(t *testing.T) {
	quick := fakeWay{openAt: 20 * msec, heardAt: 10 * msec, answerAt: 20 * msec}
	silent6, silent4 := fakeWay{}, fakeWay{delay: 50 * msec}
	tcp := fakeWay{rung: 1, openAt: 40 * msec, answerAt: 20 * msec}
	refusing := fakeWay{rung: 1, openAt: 40 * msec, openErr: errHigher}
	below := fakeWay{rung: 1, below: true, openAt: 30 * msec, answerAt: 20 * msec}
	onTop := func(f *fakeWay) { f.rung = 0 }
	with := func(f fakeWay, change func(*fakeWay)) fakeWay { change(&f); return f }

	for _, c := range []raceCase{
		{
			name: "QUIC open: TCP is never started",
			ways: map[string]fakeWay{"6": quick, "4": silent4, "T": tcp},
			at:   40 * msec, winner: "6",
			log:     "0s 6 start; 20ms 6 ask",
			settled: "6 won, 4 not started, T not started",
		},
		{
			name: "nothing came back: TCP at half the head start",
			ways: map[string]fakeWay{"6": silent6, "4": silent4, "T": tcp},
			at:   185 * msec, winner: "T",
			log:     "0s 6 start; 50ms 4 start; 125ms T start; 165ms T ask",
			settled: "6 failed, 4 failed, T won",
		},
		{
			name: "something came back: TCP after the whole head start",
			ways: map[string]fakeWay{"6": {heardAt: 30 * msec}, "4": silent4, "T": tcp},
			at:   310 * msec, winner: "T",
			log:     "0s 6 start; 50ms 4 start; 250ms T start; 290ms T ask",
			settled: "6 failed, 4 failed, T won",
		},
		{
			name: "something came back on v4 only: the whole head start",
			ways: map[string]fakeWay{"6": silent6, "4": {delay: 50 * msec, heardAt: 30 * msec}, "T": tcp},
			at:   310 * msec, winner: "T",
			log:     "0s 6 start; 50ms 4 start; 250ms T start; 290ms T ask",
			settled: "6 failed, 4 failed, T won",
		},
		{
			name: "refused on the only family: TCP at once",
			ways: map[string]fakeWay{"4": {openAt: -1, openErr: errDead}, "T": tcp},
			at:   60 * msec, winner: "T",
			log:     "0s 4 start; 0s T start; 40ms T ask",
			settled: "4 failed, T won",
		},
		{
			name: "blocked while still trying (EMSGSIZE): TCP at once",
			ways: map[string]fakeWay{"4": {blockAt: 5 * msec}, "T": tcp},
			at:   65 * msec, winner: "T",
			log:     "0s 4 start; 5ms T start; 45ms T ask",
			settled: "4 failed, T won",
		},
		{
			name: "v6 refused: v4 at once and wins, no TCP",
			ways: map[string]fakeWay{"6": {openAt: 1 * msec, openErr: errDead}, "4": with(quick, func(f *fakeWay) { f.delay = 50 * msec }), "T": tcp},
			at:   41 * msec, winner: "4",
			log:     "0s 6 start; 1ms 4 start; 21ms 4 ask",
			settled: "6 failed, 4 won, T not started",
		},
		{
			name: "v6 refused and v4 silent: half the head start",
			ways: map[string]fakeWay{"6": {openAt: 1 * msec, openErr: errDead}, "4": silent4, "T": tcp},
			at:   185 * msec, winner: "T",
			log:     "0s 6 start; 1ms 4 start; 125ms T start; 165ms T ask",
			settled: "6 failed, 4 failed, T won",
		},
		{
			name: "both families refused: TCP at once",
			ways: map[string]fakeWay{"6": {openAt: 1 * msec, openErr: errDead}, "4": {delay: 50 * msec, openAt: 1 * msec, openErr: errDead}, "T": tcp},
			at:   62 * msec, winner: "T",
			log:     "0s 6 start; 1ms 4 start; 2ms T start; 42ms T ask",
			settled: "6 failed, 4 failed, T won",
		},
		{
			name: "v6 silent, v4 starts after 50 ms and wins",
			ways: map[string]fakeWay{"6": silent6, "4": with(quick, func(f *fakeWay) { f.delay = 50 * msec }), "T": tcp},
			at:   90 * msec, winner: "4",
			log:     "0s 6 start; 50ms 4 start; 70ms 4 ask",
			settled: "6 lost, 4 won, T not started",
		},
		{
			name: "head start of 100 ms: v4 had no time before the half, so TCP waits for the whole",
			ways: map[string]fakeWay{"6": silent6, "4": silent4, "T": tcp}, headStart: 100 * msec,
			at: 160 * msec, winner: "T",
			log:     "0s 6 start; 50ms 4 start; 100ms T start; 140ms T ask",
			settled: "6 failed, 4 failed, T won",
		},
		{
			name: "QUIC after TCP won completes within 500 ms: lost, not failed",
			ways: map[string]fakeWay{"4": {heardAt: 30 * msec, openAt: 700 * msec}, "T": tcp},
			at:   310 * msec, winner: "T",
			log:     "0s 4 start; 250ms T start; 290ms T ask; 700ms 4 discard",
			settled: "4 lost, T won",
		},
		{
			name: "QUIC after TCP won needs more than 500 ms: failed",
			ways: map[string]fakeWay{"4": {heardAt: 30 * msec, openAt: 811 * msec}, "T": tcp},
			at:   310 * msec, winner: "T",
			log:     "0s 4 start; 250ms T start; 290ms T ask",
			settled: "4 failed, T won",
		},
		{
			name: "CONNECT unanswered for its patience: the other leg is opened and asked, the loser reset",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec}, "T": tcp},
			at:   1080 * msec, winner: "T",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 1.08s 4 reset; 1.08s 4 discard",
			settled: "4 lost, T won",
		},
		{
			name: "a standing-by leg gets the second CONNECT only after the wait",
			ways: map[string]fakeWay{"4": {heardAt: 10 * msec, openAt: 320 * msec}, "T": {rung: 1, openAt: 60 * msec, patience: 1200 * msec, answerAt: 1300 * msec}},
			at:   1610 * msec, winner: "T",
			log:     "0s 4 start; 250ms T start; 310ms T ask; 1.51s 4 ask; 1.61s 4 reset; 1.61s 4 discard",
			settled: "4 lost, T won",
		},
		{
			name: "the first answer wins although it was asked second",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, answerAt: 1500 * msec}, "T": with(tcp, func(f *fakeWay) { f.answerAt = 600 * msec })},
			at:   1520 * msec, winner: "4",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 1.52s T reset; 1.52s T discard",
			settled: "4 won, T lost",
		},
		{
			name: "a loser accepted late is closed with code 0",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, answerAt: 2 * time.Second, stubborn: true}, "T": tcp},
			at:   1080 * msec, winner: "T",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 2.02s 4 close 0 \"\"; 2.02s 4 discard",
			settled: "4 lost, T won",
		},
		{
			name: "no room for the second CONNECT: the first one may have it",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, answerAt: 2 * time.Second}, "T": with(tcp, func(f *fakeWay) { f.answerErr = errCrowded })},
			at:   2020 * msec, winner: "4",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 1.08s T discard",
			settled: "4 won, T failed",
		},
		{
			name: "no room for the second CONNECT, and the first one fails: that is the answer",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, within: 3 * time.Second}, "T": with(tcp, func(f *fakeWay) { f.answerErr = errCrowded })},
			at:   3020 * msec, err: errCrowded,
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 1.08s T discard; 3.02s 4 reset; 3.02s 4 discard",
			settled: "4 failed, T failed",
		},
		{
			name: "no room for the only CONNECT",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, answerAt: 20 * msec, answerErr: errCrowded}, "T": tcp},
			at:   40 * msec, err: errCrowded,
			log:     "0s 4 start; 20ms 4 ask; 40ms 4 discard",
			settled: "4 failed, T not started",
		},
		{
			name: "no progress after CONNECT: the leg failed, the next rung goes on",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, within: 3 * time.Second}, "T": with(tcp, func(f *fakeWay) { f.answerAt = 3 * time.Second })},
			at:   4060 * msec, winner: "T",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 3.02s 4 reset; 3.02s 4 discard",
			settled: "4 failed, T won",
		},
		{
			name: "TCP wins while QUIC's CONNECT is not even acknowledged: QUIC is watched for the rest of its time",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, within: 3 * time.Second}, "T": tcp},
			at:   1080 * msec, winner: "T",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 1.08s 4 reset; 3.02s 4 discard",
			settled: "4 failed, T won",
		},
		{
			name: "TCP wins over a QUIC that makes progress",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, within: 3 * time.Second, progress: true}, "T": tcp},
			at:   1080 * msec, winner: "T",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 1.08s 4 reset; 1.08s 4 discard",
			settled: "4 lost, T won",
		},
		{
			name: "a doubted loser accepted late is closed with code 0",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, within: 3 * time.Second, answerAt: 2 * time.Second, stubborn: true}, "T": tcp},
			at:   1080 * msec, winner: "T",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 2.02s 4 close 0 \"\"; 3.02s 4 discard",
			settled: "4 failed, T won",
		},
		{
			name: "nothing is missed after CONNECT: an answer may take its time",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, within: 3 * time.Second, deadAt: 6 * time.Second, answerAt: 5 * time.Second}},
			at:   5020 * msec, winner: "4",
			log:     "0s 4 start; 20ms 4 ask",
			settled: "4 won",
		},
		{
			name: "the path shows later that it is dead: found by the next look",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, within: 4 * time.Second, deadAt: 5500 * msec}},
			at:   6020 * msec, err: errNoProgress,
			log:     "0s 4 start; 20ms 4 ask; 6.02s 4 reset; 6.02s 4 discard",
			settled: "4 failed",
		},
		{
			name: "TCP wins over a QUIC that misses nothing: the loser has its time and no more",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, within: 3 * time.Second, deadAt: time.Hour}, "T": tcp},
			at:   1080 * msec, winner: "T",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 1.08s 4 reset; 3.02s 4 discard",
			settled: "4 lost, T won",
		},
		{
			name: "progress after CONNECT: an answer may take its time",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, within: 3 * time.Second, progress: true, answerAt: 5 * time.Second}},
			at:   5020 * msec, winner: "4",
			log:     "0s 4 start; 20ms 4 ask",
			settled: "4 won",
		},
		{
			name: "a refused request goes to the next rung at once, two CONNECTs in all",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, answerAt: -1, answerErr: errDead}, "T": with(tcp, func(f *fakeWay) { f.answerErr = errDead })},
			at:   80 * msec, err: errDead,
			log:     "0s 4 start; 20ms 4 ask; 20ms 4 discard; 20ms T start; 60ms T ask; 80ms T discard",
			settled: "4 failed, T failed",
		},
		{
			name: "the loser of a rung is not asked after its sibling failed",
			ways: map[string]fakeWay{
				"6": {openAt: 60 * msec, answerAt: 10 * msec, answerErr: errDead},
				"4": {delay: 50 * msec, openAt: 30 * msec, answerAt: 10 * msec}, "T": tcp,
			},
			at: 130 * msec, winner: "T",
			log:     "0s 6 start; 50ms 4 start; 60ms 6 ask; 70ms 6 discard; 70ms T start; 110ms T ask",
			settled: "6 failed, 4 lost, T won",
		},
		{
			name: "an answer ends the race: no fallback",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, answerAt: 10 * msec, answerErr: errRefused}, "T": tcp},
			at:   30 * msec, err: errRefused,
			log:     "0s 4 start; 20ms 4 ask; 30ms 4 discard",
			settled: "4 failed, T not started",
		},
		{
			name: "an answer while connecting (certificate) ends the race",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, openErr: errRefused}, "T": tcp},
			at:   20 * msec, err: errRefused,
			log:     "0s 4 start",
			settled: "4 failed, T not started",
		},
		{
			name: "all fail: every leg's error is kept",
			ways: map[string]fakeWay{"6": {openAt: 5 * msec, openErr: errDead}, "4": {openAt: 5 * msec, openErr: errDead}, "T": {rung: 1, openAt: 5 * msec, openErr: errDead}},
			at:   10 * msec, err: errDead,
			log:     "0s 6 start; 0s 4 start; 5ms T start",
			settled: "6 failed, 4 failed, T failed",
		},
		{
			name: "the context ends first",
			ways: map[string]fakeWay{"4": silent4, "T": {rung: 1}}, ctx: 400 * msec,
			at: 400 * msec, err: context.DeadlineExceeded,
			log:     "0s 4 start; 125ms T start",
			settled: "4 lost, T lost",
		},
		{
			name: "TCP refused: QUIC may take longer than the head start",
			ways: map[string]fakeWay{"4": {openAt: 900 * msec, answerAt: 10 * msec}, "T": {rung: 1, openAt: 1 * msec, openErr: errDead}},
			at:   910 * msec, winner: "4",
			log:     "0s 4 start; 125ms T start; 900ms 4 ask",
			settled: "4 won, T failed",
		},
		{
			name: "rung 1 only after failure (memory says broken): TCP alone wins",
			ways: map[string]fakeWay{"6": {openAt: 40 * msec, answerAt: 20 * msec}, "T": {rung: 1, openAt: 1 * msec}}, headStart: -1,
			at: 60 * msec, winner: "6",
			log:     "0s 6 start; 40ms 6 ask",
			settled: "6 won, T not started",
		},
		{
			name: "rung 1 only after failure: started when rung 0 failed",
			ways: map[string]fakeWay{"6": {openAt: 400 * msec, openErr: errDead}, "T": {rung: 1, openAt: 1 * msec, answerAt: -1}}, headStart: -1,
			at: 401 * msec, winner: "T",
			log:     "0s 6 start; 400ms T start; 401ms T ask",
			settled: "6 failed, T won",
		},
		{
			name: "the way below starts when the one above is not the right one, and wins",
			ways: map[string]fakeWay{"4": silent4, "T": refusing, "W": below},
			at:   215 * msec, winner: "W",
			log:     "0s 4 start; 125ms T start; 165ms W start; 195ms W ask",
			settled: "4 failed, T failed, W won",
		},
		{
			name: "the way below is not needed if the one above wins",
			ways: map[string]fakeWay{"4": silent4, "T": tcp, "W": below},
			at:   185 * msec, winner: "T",
			log:     "0s 4 start; 125ms T start; 165ms T ask",
			settled: "4 failed, T won, W not started",
		},
		{
			name: "the way below is not tried if the one above did not reach the server",
			ways: map[string]fakeWay{"4": {openAt: 1 * msec, openErr: errDead}, "T": {rung: 1, openAt: 5 * msec, openErr: errDead}, "W": below},
			at:   6 * msec, err: errDead,
			log:     "0s 4 start; 1ms T start",
			settled: "4 failed, T failed, W not started",
		},
		{
			name: "refused on every rung, one after the other: three requests",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, answerAt: 10 * msec, answerErr: errDead}, "T": with(tcp, func(f *fakeWay) { f.answerErr = errHigher }), "W": below},
			at:   140 * msec, winner: "W",
			log:     "0s 4 start; 20ms 4 ask; 30ms 4 discard; 30ms T start; 70ms T ask; 90ms T discard; 90ms W start; 120ms W ask",
			settled: "4 failed, T failed, W won",
		},
		{
			name: "the request below does not wait behind one that was answered",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec}, "T": with(tcp, func(f *fakeWay) { f.answerErr = errHigher }), "W": below},
			at:   1130 * msec, winner: "W",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 1.08s T discard; 1.08s W start; 1.11s W ask; 1.13s 4 reset; 1.13s 4 discard",
			settled: "4 lost, T failed, W won",
		},
		{
			name: "while QUIC's request is young the way below waits",
			ways: map[string]fakeWay{"4": {heardAt: 10 * msec, openAt: 280 * msec}, "T": refusing, "W": below},
			at:   1330 * msec, winner: "W",
			log:     "0s 4 start; 250ms T start; 280ms 4 ask; 1.28s W start; 1.31s W ask; 1.33s 4 reset; 1.33s 4 discard",
			settled: "4 lost, T failed, W won",
		},
		{
			name: "marked: the way below comes before QUIC",
			ways: map[string]fakeWay{"T": with(refusing, onTop), "W": with(below, onTop), "<4": {rung: 1, openAt: 1 * msec}}, headStart: -1,
			at: 90 * msec, winner: "W",
			log:     "0s T start; 40ms W start; 70ms W ask",
			settled: "T failed, W won, 4 not started",
		},
		{
			name: "marked, and TCP dead: QUIC at once",
			ways: map[string]fakeWay{"T": {openAt: 5 * msec, openErr: errDead}, "W": with(below, onTop), "<4": {rung: 1, openAt: 20 * msec, answerAt: 10 * msec}}, headStart: -1,
			at: 35 * msec, winner: "4",
			log:     "0s T start; 5ms 4 start; 25ms 4 ask",
			settled: "T failed, W not started, 4 won",
		},
		{
			name: "the last word is not final while QUIC may come up",
			ways: map[string]fakeWay{"4": {heardAt: 30 * msec, openAt: 800 * msec, answerAt: 10 * msec}, "T": refusing, "W": with(below, func(f *fakeWay) { f.answerErr = errLast })},
			at:   810 * msec, winner: "4",
			log:     "0s 4 start; 250ms T start; 290ms W start; 320ms W ask; 340ms W discard; 800ms 4 ask",
			settled: "4 won, T failed, W failed",
		},
		{
			name: "the last word stands when QUIC has not come up in its time",
			ways: map[string]fakeWay{"6": silent6, "4": silent4, "T": refusing, "W": with(below, func(f *fakeWay) { f.answerErr = errLast })},
			at:   715 * msec, err: errLast,
			log:     "0s 6 start; 50ms 4 start; 125ms T start; 165ms W start; 195ms W ask; 215ms W discard",
			settled: "6 failed, 4 failed, T failed, W failed",
		},
		{
			name: "the last word does not cut a request that is out",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, answerAt: 3 * time.Second}, "T": refusing, "W": with(below, func(f *fakeWay) { f.answerErr = errLast })},
			at:   3020 * msec, winner: "4",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s W start; 1.09s W ask; 1.11s W discard",
			settled: "4 won, T failed, W failed",
		},
		{
			name: "marked: after the last word QUIC has its time",
			ways: map[string]fakeWay{"T": with(refusing, onTop), "W": with(below, func(f *fakeWay) { f.rung = 0; f.answerErr = errLast }), "<6": {rung: 1}, "<4": {rung: 1, openAt: 10 * msec, openErr: errDead}}, headStart: -1,
			at: 590 * msec, err: errLast,
			log:     "0s T start; 40ms W start; 70ms W ask; 90ms W discard; 90ms 6 start; 90ms 4 start",
			settled: "T failed, W failed, 6 failed, 4 failed",
		},
		{
			name: "the last word of the only way is the answer",
			ways: map[string]fakeWay{"W": {openAt: 30 * msec, answerAt: 20 * msec, answerErr: errLast}},
			at:   50 * msec, err: errLast, answered: true,
			log:     "0s W start; 30ms W ask; 50ms W discard",
			settled: "W failed",
		},
		{
			name: "an unanswered request: the way below after three times its patience",
			ways: map[string]fakeWay{"T": {rung: 1, openAt: 40 * msec}, "W": below},
			at:   3090 * msec, winner: "W",
			log:     "0s T start; 40ms T ask; 3.04s W start; 3.07s W ask; 3.09s T discard; 3.09s T reset",
			settled: "T lost, W won",
		},
		{
			name: "an unanswered request: a last word below does not end the wait for it",
			ways: map[string]fakeWay{"T": {rung: 1, openAt: 40 * msec, answerAt: 5 * time.Second}, "W": with(below, func(f *fakeWay) { f.answerErr = errLast })},
			at:   5040 * msec, winner: "T",
			log:     "0s T start; 40ms T ask; 3.04s W start; 3.07s W ask; 3.09s W discard",
			settled: "T won, W failed",
		},
		{
			name: "an answer that comes while the way below opens",
			ways: map[string]fakeWay{"T": {rung: 1, openAt: 40 * msec, answerAt: 3010 * msec}, "W": below},
			at:   3050 * msec, winner: "T",
			log:     "0s T start; 40ms T ask; 3.04s W start",
			settled: "T won, W lost",
		},
		{
			name: "two unanswered requests: no third beside them",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, answerAt: 6 * time.Second}, "T": {rung: 1, openAt: 40 * msec}, "W": below},
			at:   6020 * msec, winner: "4",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 6.02s T reset; 6.02s T discard",
			settled: "4 won, T lost, W not started",
		},
		{
			name: "two unanswered requests: the way below once one of them has lost its path",
			ways: map[string]fakeWay{"4": {openAt: 20 * msec, within: 5 * time.Second}, "T": {rung: 1, openAt: 40 * msec}, "W": below},
			at:   5070 * msec, winner: "W",
			log:     "0s 4 start; 20ms 4 ask; 1.02s T start; 1.06s T ask; 5.02s 4 discard; 5.02s 4 reset; 5.02s W start; 5.05s W ask; 5.07s T discard; 5.07s T reset",
			settled: "4 failed, T lost, W won",
		},
		{
			name: "a way below that is ready waits while two requests are out",
			ways: map[string]fakeWay{
				"4": {openAt: 3400 * msec, heardAt: 10 * msec, answerAt: 2 * time.Second},
				"T": {rung: 1, openAt: 40 * msec}, "W": with(below, func(f *fakeWay) { f.openAt = 500 * msec }),
			},
			at: 5400 * msec, winner: "4",
			log:     "0s 4 start; 250ms T start; 290ms T ask; 3.29s W start; 3.4s 4 ask; 5.4s T discard; 5.4s T reset; 5.4s W discard",
			settled: "4 won, T lost, W lost",
		},
		{
			name: "no ways at all",
			at:   0, err: errNoWay,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runRaceCase(t, c) })
		})
	}
}

// The error of a race that everybody lost names every way.
func TestRaceJoinedError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{start: time.Now()}
		errOther := errors.New("other")
		r := &race{ways: []way{
			s.way("6", fakeWay{openAt: -1, openErr: errDead}),
			s.way("T", fakeWay{rung: 1, openAt: -1, openErr: errOther}),
		}, headStart: 250 * msec}
		done := make(chan result, 1)
		r.run(t.Context(), t.Context(), done, nil)
		err := (<-done).err
		if !errors.Is(err, errDead) || !errors.Is(err, errOther) {
			t.Errorf("%v lacks a way's error", err)
		}
		if got, want := err.Error(), "h3 6: dead network\nh2 T: other"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// The end of the dialer's life ends a lingering way at once.
func TestRaceLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{start: time.Now()}
		r := &race{
			ways:      []way{s.way("4", fakeWay{}), s.way("T", fakeWay{rung: 1, openAt: -1, answerAt: -1})},
			headStart: 10 * msec, linger: time.Hour,
		}
		life, end := context.WithCancel(t.Context())
		done := make(chan result, 1)
		go func() {
			<-done
			time.Sleep(30 * msec)
			end()
		}()
		r.run(t.Context(), life, done, func(as []Attempt) {
			if as[0].Outcome != Lost {
				t.Errorf("the lingering way %v, want lost: nobody knows what it would have come to", as[0].Outcome)
			}
		})
		if got := time.Since(s.start); got != 40*msec {
			t.Errorf("the race ended after %v, want 40ms", got)
		}
	})
}
