// Package lab has the laboratory's vocabulary: what one run is asked to do, and
// what it found. It does nothing itself; a run and its result travel between
// processes as JSON.
//
//	cmd/hol            flags, presets, progress                  (parent process)
//	  plan             runs that a request needs, jobs, rejection
//	    trial          one Run: link + adapter + workload        (worker process)
//	      link         two namespaces, two TUN devices, a router
//	      adapter      the transports
//	      workload     updates, mixed, page, rpc
//	  stats            percentiles, late shares, confidence intervals
//	  theory           what the link alone predicts
//	  report           terminal table, JSON, CSV, HTML with plots
package lab
