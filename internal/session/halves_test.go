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
	table := map[sendState][7]outcome{
		sendNone: {
			{bug, sendNone}, {bug, sendNone}, {wrongState, sendNone}, {wrongState, sendNone}, {bug, sendNone}, {bug, sendNone}, {ignored, sendNone},
		},
		sendOpen: {
			{accepted, sendFinDue}, {accepted, sendResetDue}, {accepted, sendResetDue}, {accepted, sendOpen}, {bug, sendOpen}, {bug, sendOpen}, {ignored, sendOpen},
		},
		sendFinDue: {
			{ignored, sendFinDue}, {accepted, sendResetDue}, {accepted, sendResetDue}, {accepted, sendFinDue}, {accepted, sendDataSent}, {bug, sendFinDue}, {ignored, sendFinDue},
		},
		sendResetDue: {
			{ignored, sendResetDue}, {ignored, sendResetDue}, {ignored, sendResetDue}, {ignored, sendResetDue}, {bug, sendResetDue}, {accepted, sendResetSent}, {ignored, sendResetDue},
		},
		sendDataSent: {
			{ignored, sendDataSent}, {ignored, sendDataSent}, {ignored, sendDataSent}, {ignored, sendDataSent}, {bug, sendDataSent}, {bug, sendDataSent}, {accepted, sendFinDue},
		},
		sendResetSent: {
			{ignored, sendResetSent}, {ignored, sendResetSent}, {ignored, sendResetSent}, {ignored, sendResetSent}, {bug, sendResetSent}, {bug, sendResetSent}, {ignored, sendResetSent},
		},
	}
	events := []string{"close", "cancel", "STOP_SENDING", "MAX_STREAM_DATA", "FIN sent", "RESET sent", "FIN misread"}
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
		recvNone: "none", recvOpen: "open", recvHeld: "held", recvDataRecvd: "data received", recvResetRecvd: "reset received",
		recvDataRead: "data read", recvResetRead: "reset read",
	}
	type outcome struct {
		verdict verdict
		state   recvState
		stop    stopState
	}
	events := []string{"data", "FIN", "hold", "reopen", "RESET", "DATA_BLOCKED", "read", "cancel", "STOP sent"}
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
		dataStop  = situation{recvDataRead, stopSent}
		held      = situation{recvHeld, stopNone}
		heldDue   = situation{recvHeld, stopDue}
		heldStop  = situation{recvHeld, stopSent}
	)
	for s, row := range map[situation][9]outcome{
		none: {
			same(wrongState, none), same(bug, none), same(bug, none), same(ignored, none),
			same(wrongState, none), same(wrongState, none), same(bug, none), same(bug, none), same(bug, none),
		},
		open: {
			same(accepted, open), {accepted, recvDataRecvd, stopNone}, {accepted, recvHeld, stopNone}, same(ignored, open),
			{accepted, recvResetRecvd, stopNone}, same(accepted, open), same(bug, open), {accepted, recvOpen, stopDue}, same(bug, open),
		},
		stopping: {
			same(accepted, stopping), {accepted, recvDataRead, stopMoot}, {accepted, recvHeld, stopDue}, same(ignored, stopping),
			{accepted, recvResetRead, stopMoot}, same(accepted, stopping), same(bug, stopping), same(ignored, stopping), {accepted, recvOpen, stopSent},
		},
		stopped: {
			same(accepted, stopped), {accepted, recvDataRead, stopSent}, {accepted, recvHeld, stopSent}, same(ignored, stopped),
			{accepted, recvResetRead, stopSent}, same(accepted, stopped), same(bug, stopped), same(ignored, stopped), same(bug, stopped),
		},
		held: {
			same(wrongState, held), {accepted, recvDataRecvd, stopNone}, same(bug, held), {accepted, recvOpen, stopNone},
			same(wrongState, held), same(wrongState, held), same(bug, held), {accepted, recvHeld, stopDue}, same(bug, held),
		},
		heldDue: {
			same(wrongState, heldDue), {accepted, recvDataRead, stopMoot}, same(bug, heldDue), {accepted, recvOpen, stopDue},
			same(wrongState, heldDue), same(wrongState, heldDue), same(bug, heldDue), same(ignored, heldDue), same(bug, heldDue),
		},
		heldStop: {
			same(wrongState, heldStop), {accepted, recvDataRead, stopSent}, same(bug, heldStop), {accepted, recvOpen, stopSent},
			same(wrongState, heldStop), same(wrongState, heldStop), same(bug, heldStop), same(ignored, heldStop), same(bug, heldStop),
		},
		dataRecvd: {
			same(wrongState, dataRecvd), same(bug, dataRecvd), same(bug, dataRecvd), {accepted, recvOpen, stopNone},
			same(wrongState, dataRecvd), same(wrongState, dataRecvd), {accepted, recvDataRead, stopNone}, {accepted, recvDataRead, stopMoot}, same(bug, dataRecvd),
		},
		resetRcvd: {
			same(wrongState, resetRcvd), same(bug, resetRcvd), same(bug, resetRcvd), same(ignored, resetRcvd),
			same(wrongState, resetRcvd), same(wrongState, resetRcvd), {accepted, recvResetRead, stopNone}, {accepted, recvResetRead, stopMoot}, same(bug, resetRcvd),
		},
		dataRead: {
			same(wrongState, dataRead), same(bug, dataRead), same(bug, dataRead), same(ignored, dataRead),
			same(wrongState, dataRead), same(wrongState, dataRead), same(ignored, dataRead), same(ignored, dataRead), same(bug, dataRead),
		},
		resetRead: {
			same(wrongState, resetRead), same(bug, resetRead), same(bug, resetRead), same(ignored, resetRead),
			same(wrongState, resetRead), same(wrongState, resetRead), same(ignored, resetRead), same(ignored, resetRead), same(bug, resetRead),
		},
		dataMoot: {
			same(wrongState, dataMoot), same(bug, dataMoot), same(bug, dataMoot), {accepted, recvOpen, stopDue},
			same(wrongState, dataMoot), same(wrongState, dataMoot), same(ignored, dataMoot), same(ignored, dataMoot), same(bug, dataMoot),
		},
		dataStop: {
			same(wrongState, dataStop), same(bug, dataStop), same(bug, dataStop), {accepted, recvOpen, stopSent},
			same(wrongState, dataStop), same(wrongState, dataStop), same(ignored, dataStop), same(ignored, dataStop), same(bug, dataStop),
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
