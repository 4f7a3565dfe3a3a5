package recovery

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sestina-mail/sestina/tests/harness"
)

// refused asserts that a call was answered with 503.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	var resp *smithyhttp.ResponseError
	if !errors.As(err, &resp) || resp.HTTPStatusCode() != http.StatusServiceUnavailable {
		t.Errorf("%s: %v, want 503", what, err)
		return
	}
	var api smithy.APIError
	if errors.As(err, &api) && !strings.Contains(api.ErrorCode(), "ServiceUnavailable") && !strings.Contains(api.ErrorCode(), "ServiceUnavailableException") {
		t.Errorf("%s: code %s, want ServiceUnavailable", what, api.ErrorCode())
	}
}

// takesNothing asserts that nothing new is accepted, by any way in.
func (b *bed) takesNothing(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	_, err := b.trySend(ctx, "lena@example.net", "hello")
	refused(t, "SendEmail", err)
	_, err = b.trySend(ctx, "lena@example.net", strings.Repeat("hello ", 20000))
	refused(t, "SendEmail of a large message", err)
	if _, err = b.smtpSend(smtpMessage); err == nil || !strings.Contains(err.Error(), "451") {
		t.Errorf("SMTP: %v, want 451", err)
	}
	_, err = b.topics().Publish(ctx, &sns.PublishInput{TopicArn: &b.topic, Message: aws.String("hello")})
	refused(t, "Publish", err)
	_, err = b.queues().SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: b.queueURL("events"), MessageBody: aws.String("hello")})
	refused(t, "SendMessage", err)
}

// TestDiskReserve: below the reserve nothing is accepted, but everything that
// was goes on to its end, and all can be read.
func TestDiskReserve(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	h := harness.NewHook(t)
	asked := fail(h)
	b.subscribe(t, h)
	b.queue(t, "events")
	ids := b.send(t, 3)
	<-asked
	b.Kill()
	b.With("--disk-reserve", fmt.Sprint(int64(1)<<60))
	b.Restart()
	b.takesNothing(t)
	for _, path := range []string{"messages", "messages/" + ids[0] + "/timeline", "messages/" + ids[0] + "/raw", "events"} {
		b.Own(t.Context(), "GET", path, "")
	}
	h.Answer(nil)
	b.collect(t, h, expected(ids, "Send", "Delivery"))
	got := 0
	for got < 6 { // three messages, two events each
		n := len(b.take(t, "events", 5))
		if n == 0 {
			t.Fatalf("the queue has %d messages, want 6", got)
		}
		got += n
	}
	b.Stop()
	b.With("--disk-reserve", "1")
	b.Restart()
	b.collect(t, h, expected(b.send(t, 1), "Send", "Delivery"))
}

// onSmallDisk starts the program with its data folder on a file system of its
// own, of a size such as 64m, which goes away with the program. Its path is as
// this process sees it.
func onSmallDisk(t *testing.T, size string) (b *bed, folder string) {
	t.Helper()
	dir := t.TempDir()
	s := harness.StartUnder(t, []string{
		"unshare", "--map-root-user", "--mount", "sh", "-c", `mount -t tmpfs -o size=` + size + ` tmpfs "$0" && exec "$@"`, dir,
	}, "--data", filepath.Join(dir, "data"), "--disk-reserve", "1")
	return furnish(t, s), fmt.Sprintf("/proc/%d/root%s", s.PID(), dir)
}

// fill writes a file until nothing fits any more.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	check(t, err)
	defer f.Close()
	for size := 1 << 20; size >= 1; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			size /= 2
		}
	}
}

// TestFullDisk: when the disk is full nothing is accepted, nothing is lost and
// everything can be read; when there is room again the program goes on by
// itself.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	b, folder := onSmallDisk(t, "64m")
	h := harness.NewHook(t)
	b.subscribe(t, h)
	b.queue(t, "events")
	asked := fail(h)
	ids := b.send(t, 5)
	<-asked
	fill(t, filepath.Join(folder, "filler"))
	b.takesNothing(t)
	b.Own(t.Context(), "GET", "messages/"+ids[0]+"/timeline", "")
	if resp, err := http.Get(b.HTTP + "/readyz"); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %v %v, want 503", resp, err)
	} else {
		resp.Body.Close()
	}
	if left, err := os.ReadDir(filepath.Join(folder, "data", "bodies")); err != nil || len(left) > 0 {
		t.Errorf("refused bodies are still on the disk: %v %v", left, err)
	}
	h.Answer(nil)
	check(t, os.Remove(filepath.Join(folder, "filler")))
	eventually(t, "the program to accept again", func() bool {
		id, err := b.trySend(t.Context(), "lena@example.net", "again")
		if err == nil {
			ids = append(ids, id)
		}
		return err == nil
	})
	b.collect(t, h, expected(ids, "Send", "Delivery"))
	if log := b.Log(); strings.Contains(log, "panic") {
		t.Errorf("the program panicked: %s", log)
	}
}

// TestBodyFolderGone: without the folder of large bodies those are refused, and
// nothing else; when it is back all is well.
func TestBodyFolderGone(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	folder := filepath.Join(b.Dir, "bodies")
	large := strings.Repeat("hello ", 20000)
	id, err := b.trySend(t.Context(), "lena@example.net", large)
	check(t, err)
	check(t, os.Rename(folder, folder+".away"))
	_, err = b.trySend(t.Context(), "lena@example.net", large)
	refused(t, "a large message", err)
	b.send(t, 1)
	check(t, os.Rename(folder+".away", folder))
	_, err = b.trySend(t.Context(), "lena@example.net", large)
	check(t, err)
	if raw := b.Own(t.Context(), "GET", "messages/"+id+"/raw", ""); len(raw) < len(large) {
		t.Errorf("the body has %d bytes", len(raw))
	}
}

// TestDamagedBody: a body file that lost its end is not sent. The message is
// tried again, and goes out when the file is whole.
func TestDamagedBody(t *testing.T) {
	t.Parallel()
	r := newRelay(t)
	b := newBed(t, "--relay", "smtp://"+r.addr, "--retry-schedule", "1m")
	id, err := b.trySend(t.Context(), "lena@example.net", strings.Repeat("hello ", 20000))
	check(t, err)
	<-r.stuck // it waits for an answer
	b.Kill()
	files, err := os.ReadDir(filepath.Join(b.Dir, "bodies"))
	if err != nil || len(files) != 1 {
		t.Fatalf("body files: %v %v", files, err)
	}
	file := filepath.Join(b.Dir, "bodies", files[0].Name())
	whole, err := os.ReadFile(file)
	check(t, err)
	check(t, os.WriteFile(file, whole[:len(whole)/2], 0o600))
	r.behave()
	b.Restart()
	var timeline string
	eventually(t, "an attempt", func() bool {
		timeline = string(b.Own(t.Context(), "GET", "messages/"+id+"/timeline", ""))
		return strings.Contains(timeline, `"attempts":1`)
	})
	if n := r.messages(); n != 0 {
		t.Fatalf("half a message was sent: %.300s", timeline)
	}
	check(t, os.WriteFile(file, whole, 0o600))
	eventually(t, "the whole message", func() bool {
		b.advance(t, "2m")
		return r.messages() == 1
	})
	if got := r.got[0]; len(got) < len(whole) {
		t.Errorf("the relay has %d bytes of %d", len(got), len(whole))
	}
}
