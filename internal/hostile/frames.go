package hostile

// Frames returns how many frames a script sends that no limit ends: n, and a
// tenth of them with the race detector, under which each costs ten times as much
// and which looks for races, not for growth.
func Frames(n int) int {
	if raceDetector {
		return n / 10
	}
	return n
}
