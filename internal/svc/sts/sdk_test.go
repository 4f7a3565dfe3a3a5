package sts_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/svc/sts"
)

func TestSDK(t *testing.T) {
	t.Parallel()
	mux := awswire.NewMux(awswire.Options{Account: account, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	sts.Register(mux, sts.New(sts.Options{Credentials: keys{"AKIAOTHER": "999999999999"}}))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	c := sdk.NewFromConfig(aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(srv.URL), HTTPClient: srv.Client(),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	})
	who, err := c.GetCallerIdentity(t.Context(), &sdk.GetCallerIdentityInput{})
	if err != nil || *who.Account != account || !strings.HasPrefix(*who.Arn, "arn:aws:iam::"+account+":") || *who.UserId == "" {
		t.Errorf("caller %+v, error %v", who, err)
	}
	key, err := c.GetAccessKeyInfo(t.Context(), &sdk.GetAccessKeyInfoInput{AccessKeyId: aws.String("AKIAOTHEROTHEROTHER")})
	var fault smithy.APIError
	if !errors.As(err, &fault) || fault.ErrorCode() != "InvalidClientTokenId" {
		t.Errorf("unknown key: %+v, %v", key, err)
	}
	// Temporary credentials are not issued, and no client waits for that.
	_, err = c.GetSessionToken(t.Context(), &sdk.GetSessionTokenInput{})
	if !errors.As(err, &fault) || fault.ErrorFault() == smithy.FaultServer {
		t.Errorf("GetSessionToken: %v", err)
	}
}
