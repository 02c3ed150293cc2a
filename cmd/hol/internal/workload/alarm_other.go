//go:build !linux

package workload

import (
	"context"
	"time"
)

func newAlarm(ctx context.Context, base time.Time) (alarm, error) { return newTimer(ctx, base) }
