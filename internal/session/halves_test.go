package session

import (
	"fmt"
	"testing"
)

func TestSendHalf(t *testing.T) {
	states := map[sendState]string{
		sendNone: "none", sendOpen: "open", sendFinDue: "FIN due", sendResetDue: "reset due",
		sendDataSent: "data sent", sendResetSent: "reset sent",
	}
	type outcome struct {
		verdict verdict
		state   sendState
	}
	// One row a state; the columns are the events in their order.
	table := map[sendState][6]outcome{
		sendNone: {
			{bug, sendNone}, {bug, sendNone}, {wrongState, sendNone}, {wrongState, sendNone}, {bug, sendNone}, {bug, sendNone},
		},
		sendOpen: {
			{accepted, sendFinDue}, {accepted, sendResetDue}, {accepted, sendResetDue}, {accepted, sendOpen}, {bug, sendOpen}, {bug, sendOpen},
		},
		sendFinDue: {
			{ignored, sendFinDue}, {accepted, sendResetDue}, {accepted, sendResetDue}, {accepted, sendFinDue}, {accepted, sendDataSent}, {bug, sendFinDue},
		},
		sendResetDue: {
			{ignored, sendResetDue}, {ignored, sendResetDue}, {ignored, sendResetDue}, {ignored, sendResetDue}, {bug, sendResetDue}, {accepted, sendResetSent},
		},
		sendDataSent: {
			{ignored, sendDataSent}, {ignored, sendDataSent}, {ignored, sendDataSent}, {ignored, sendDataSent}, {bug, sendDataSent}, {bug, sendDataSent},
		},
		sendResetSent: {
			{ignored, sendResetSent}, {ignored, sendResetSent}, {ignored, sendResetSent}, {ignored, sendResetSent}, {bug, sendResetSent}, {bug, sendResetSent},
		},
	}
	events := []string{"close", "cancel", "STOP_SENDING", "MAX_STREAM_DATA", "FIN sent", "RESET sent"}
	for state, row := range table {
		for e, want := range row {
			for _, stopped := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s in %s, stopped %t", events[e], states[state], stopped), func(t *testing.T) {
					want := want
					peer := sendEvent(e) == sendEventStopSending || sendEvent(e) == sendEventMaxStreamData
					if stopped && peer {
						want = outcome{wrongState, state} // H2-124, H2-148
					}
					h := sendHalf{state: state, stopRecvd: stopped}
					if got := (outcome{h.on(sendEvent(e)), h.state}); got != want {
						t.Fatalf("verdict %d and state %s, want %d and %s", got.verdict, states[got.state], want.verdict, states[want.state])
					}
					wantStopped := stopped || sendEvent(e) == sendEventStopSending && state != sendNone
					if h.stopRecvd != wantStopped {
						t.Fatalf("stopRecvd is %t", h.stopRecvd)
					}
				})
			}
		}
	}
}

func TestRecvHalf(t *testing.T) {
	states := map[recvState]string{
		recvNone: "none", recvOpen: "open", recvDataRecvd: "data received", recvResetRecvd: "reset received",
		recvDataRead: "data read", recvResetRead: "reset read",
	}
	type outcome struct {
		verdict verdict
		state   recvState
		stop    stopState
	}
	events := []string{"data", "FIN", "RESET", "DATA_BLOCKED", "read", "cancel", "STOP sent"}
	type situation struct {
		state recvState
		stop  stopState
	}
	same := func(v verdict, s situation) outcome { return outcome{v, s.state, s.stop} }
	var (
		none      = situation{recvNone, stopNone}
		open      = situation{recvOpen, stopNone}
		stopping  = situation{recvOpen, stopDue}
		stopped   = situation{recvOpen, stopSent}
		dataRecvd = situation{recvDataRecvd, stopNone}
		resetRcvd = situation{recvResetRecvd, stopNone}
		dataRead  = situation{recvDataRead, stopNone}
		resetRead = situation{recvResetRead, stopNone}
		dataMoot  = situation{recvDataRead, stopMoot}
	)
	for s, row := range map[situation][7]outcome{
		none: {same(wrongState, none), same(bug, none), same(wrongState, none), same(wrongState, none), same(bug, none), same(bug, none), same(bug, none)},
		open: {
			same(accepted, open), {accepted, recvDataRecvd, stopNone}, {accepted, recvResetRecvd, stopNone}, same(accepted, open),
			same(bug, open), {accepted, recvOpen, stopDue}, same(bug, open),
		},
		stopping: {
			same(accepted, stopping), {accepted, recvDataRead, stopMoot}, {accepted, recvResetRead, stopMoot}, same(accepted, stopping),
			same(bug, stopping), same(ignored, stopping), {accepted, recvOpen, stopSent},
		},
		stopped: {
			same(accepted, stopped), {accepted, recvDataRead, stopSent}, {accepted, recvResetRead, stopSent}, same(accepted, stopped),
			same(bug, stopped), same(ignored, stopped), same(bug, stopped),
		},
		dataRecvd: {
			same(wrongState, dataRecvd), same(bug, dataRecvd), same(wrongState, dataRecvd), same(wrongState, dataRecvd),
			{accepted, recvDataRead, stopNone}, {accepted, recvDataRead, stopMoot}, same(bug, dataRecvd),
		},
		resetRcvd: {
			same(wrongState, resetRcvd), same(bug, resetRcvd), same(wrongState, resetRcvd), same(wrongState, resetRcvd),
			{accepted, recvResetRead, stopNone}, {accepted, recvResetRead, stopMoot}, same(bug, resetRcvd),
		},
		dataRead: {
			same(wrongState, dataRead), same(bug, dataRead), same(wrongState, dataRead), same(wrongState, dataRead),
			same(ignored, dataRead), same(ignored, dataRead), same(bug, dataRead),
		},
		resetRead: {
			same(wrongState, resetRead), same(bug, resetRead), same(wrongState, resetRead), same(wrongState, resetRead),
			same(ignored, resetRead), same(ignored, resetRead), same(bug, resetRead),
		},
		dataMoot: {
			same(wrongState, dataMoot), same(bug, dataMoot), same(wrongState, dataMoot), same(wrongState, dataMoot),
			same(ignored, dataMoot), same(ignored, dataMoot), same(bug, dataMoot),
		},
	} {
		for e, want := range row {
			t.Run(fmt.Sprintf("%s in %s, stop %d", events[e], states[s.state], s.stop), func(t *testing.T) {
				h := recvHalf{state: s.state, stop: s.stop}
				if got := (outcome{h.on(recvEvent(e)), h.state, h.stop}); got != want {
					t.Fatalf("got %+v, want %+v", got, want)
				}
				if h.growing() && (h.state != recvOpen || h.stop != stopNone) {
					t.Fatal("H2-147: credit may still be given")
				}
			})
		}
	}
}

func TestMustPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("a bug went unnoticed")
		}
	}()
	must(bug)
}
