package peers

// rows are all rows in the order of the document. Each is declared in the file
// of the test that measures it.
var rows = []*row{
	failsBrowser1,
	failsBrowser2,
	failsClient,
	failsServer,
	wtgoClient,
	wtgoClientNoFlow,
	wtgoTransport,
	wtgoServer,
	wtgoServerNoFlow,
	xnetLegacy,
	xnetDraft15,
	replayedChromium,
	replayedFirefox,
	firefoxReplay,
	towpathH3,
	towpathH2,
	towpathH2Draft15,
	towpathH2Legacy,
	towpathWS1,
	towpathWS2,
}
